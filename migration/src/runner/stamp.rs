//! Changes of the bookkeeping alone.

use super::Runner;
use crate::{bookkeeping, error::MigrationError};

impl Runner<'_> {
    /// Records that the revisions up to a place are applied and no others, without running a
    /// step. Revisions that this program doesn't know stay, unless they are purged. Answers the
    /// revisions that are recorded now and weren't, and those that aren't any more.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn stamp(
        &mut self,
        to: usize,
        purge: bool,
    ) -> Result<(Vec<String>, Vec<String>), MigrationError> {
        if let Some(error) = self.not_installed.take() {
            return Err(error.into());
        }
        let (mut rows, mut added, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        for (at, revision) in self.chain.revisions().iter().enumerate() {
            let name = &revision.name;
            let is_applied = self.state.is_applied(name);
            if at < to && !is_applied {
                rows.extend(bookkeeping::record(revision, self.engine, Some("stamped")));
                added.push(name.clone());
            } else if at >= to && (is_applied || self.state.half.contains_key(name)) {
                rows.extend(bookkeeping::unrecord(name));
                removed.push(name.clone());
            }
        }
        if purge {
            for unknown in self.state.unknown(self.chain) {
                rows.extend(bookkeeping::unrecord(&unknown.name));
                removed.push(unknown.name.clone());
            }
        }
        self.transaction(&rows).await?;
        self.state = bookkeeping::read(&self.session).await?;
        Ok((added, removed))
    }

    /// Records this program's hash of a revision in place of the recorded one, with the reason.
    /// Answers whether it was another.
    ///
    /// # Errors
    /// If the revision isn't applied, or what the database answers.
    pub async fn repair(&mut self, name: &str, reason: &str) -> Result<bool, MigrationError> {
        let no_such = || crate::target::TargetError::NoSuch(name.to_owned());
        let revision = self.chain.get(name).ok_or_else(no_such)?;
        let applied = self.state.get(name).ok_or_else(no_such)?;
        let own = revision.hash(self.engine);
        if applied.details.as_ref().is_some_and(|details| details.hash == own) {
            return Ok(false);
        }
        if let Some(error) = self.not_installed.take() {
            return Err(error.into());
        }
        self.transaction(&bookkeeping::record_note(revision, self.engine, reason)).await?;
        self.state = bookkeeping::read(&self.session).await?;
        Ok(true)
    }
}
