//! Collects all violations of a request, so that the caller gets them together.

use std::collections::HashSet;

use bookstore_query::{
    Resource,
    crud::{Columns, Expected},
    page_token::PageToken,
    search::Language,
};
use bookstore_store::FieldViolation;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use uuid::Uuid;

use super::{answer_mask::AnswerMask, etag, paths::Paths};

/// The check of one request: its violations so far, and the context of the checks.
pub struct Check<'a> {
    /// What seals tokens; see [`Self::page_key`].
    pub sealing_key: &'a [u8; 32],
    /// The name of the caller; none without credentials.
    pub principal: Option<&'a str>,
    /// The most that an answer may be, in bytes.
    pub max_message_size: usize,
    /// The language of searches.
    pub search_language: Language,
    /// What of the answer the caller asks for; none is all of it.
    pub mask: Option<&'a AnswerMask>,
    violations: Vec<FieldViolation>,
    ids: HashSet<Uuid>,
}

impl<'a> Check<'a> {
    /// Begins with the contract's rules that the request breaks.
    pub fn new(
        sealing_key: &'a [u8; 32],
        max_message_size: usize,
        violations: Vec<FieldViolation>,
    ) -> Self {
        let (principal, mask, ids) = (None, None, HashSet::new());
        let search_language = Language::default();
        Self { sealing_key, principal, max_message_size, search_language, mask, violations, ids }
    }

    /// The key that seals the caller's page tokens.
    pub fn page_key(&self) -> [u8; 32] {
        PageToken::key_of(self.sealing_key, self.principal)
    }

    /// The columns to read of a resource that the answer holds at a path, which is empty where
    /// the resource is the answer.
    pub fn columns<R: Resource>(&self, path: &str) -> Columns {
        let wanted = |mask: &AnswerMask| R::LARGE.iter().any(|field| mask.wants(path, field));
        match self.mask {
            Some(mask) if !wanted(mask) => Columns::Narrow,
            _ => Columns::All,
        }
    }

    /// Adds a violation.
    pub fn violation(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.violations.push(FieldViolation::new(field, description));
    }

    /// Adds to the violation of a field what its caller can do instead.
    pub fn advise(&mut self, field: &str, advice: &str) {
        for violation in self.violations.iter_mut().filter(|it| it.field == field) {
            violation.description = format!("{}; {advice}", violation.description);
        }
    }

    /// Reads an id whose form the contract's rules check; none if they refused it.
    pub fn id(&self, text: &str) -> Option<Uuid> {
        Uuid::try_parse(text).ok()
    }

    /// Reads the key of an update, which is no input elsewhere and so has no rule.
    pub fn key(&mut self, field: &str, text: &str) -> Option<Uuid> {
        let id = Uuid::try_parse(text).ok().filter(|id| id.to_string() == text);
        if id.is_none() {
            let description =
                if text.is_empty() { "is required" } else { "must be a lower-case UUID" };
            self.violation(field, description);
        }
        id
    }

    /// Reads an etag; empty means that any state will do.
    pub fn etag(&self, id: Uuid, text: &str) -> Expected {
        etag::read(id, text)
    }

    /// Adds a violation if a batch names an id twice.
    pub fn once(&mut self, field: &str, id: Uuid) {
        if !self.ids.insert(id) {
            self.violation(field, "stands in this batch already");
        }
    }

    /// Notes a violation if a name has characters that can't be seen or distinguished: control,
    /// format, unassigned and private ones, and separators of lines (Unicode's general categories
    /// Cc, Cf, Cn, Co, Zl and Zp). With them one name would look like another.
    pub fn visible(&mut self, field: impl Into<String>, text: &str) {
        use GeneralCategory as Category;
        let hidden = |letter: &char| {
            matches!(
                letter.general_category(),
                Category::Control
                    | Category::Format
                    | Category::Unassigned
                    | Category::PrivateUse
                    | Category::LineSeparator
                    | Category::ParagraphSeparator
            )
        };
        // That one has a rule of its own.
        if let Some(letter) = text.chars().filter(|letter| *letter != '\0').find(hidden) {
            let description = format!("must not hold the character U+{:04X}", u32::from(letter));
            self.violation(field, description);
        }
    }

    /// Removes the violations of fields outside a mask: a field that isn't written may be wrong.
    pub fn pass_over(&mut self, path: &str, mask: &Paths) {
        let prefix = format!("{path}.");
        let passed = |violation: &FieldViolation| {
            let inside = violation.field.strip_prefix(&prefix);
            inside.is_some_and(|field| {
                let name = field.split(['.', '[']).next().unwrap_or(field);
                // The key is checked with any mask.
                name != "id" && !mask.contains(name)
            })
        };
        self.violations.retain(|violation| !passed(violation));
    }

    /// Whether a field has a violation already.
    pub fn has_violation(&self, field: &str) -> bool {
        self.violations.iter().any(|violation| violation.field == field)
    }

    /// The violations at or below a path.
    pub fn violations_under(&self, path: &str) -> Vec<FieldViolation> {
        let below = |violation: &&FieldViolation| {
            violation
                .field
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.violations.iter().filter(below).cloned().collect()
    }

    /// The violations.
    pub fn into_violations(self) -> Vec<FieldViolation> {
        self.violations
    }
}
