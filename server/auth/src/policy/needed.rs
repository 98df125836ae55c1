//! The sections of a policy that need a setting of the service beside them.

use super::error::PolicyError;

/// Which credentials the settings of a service let it verify, beside JSON Web Tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedCredentials {
    /// Static tokens: the setting `tokens_file` is there.
    pub tokens: bool,
    /// Client certificates: the setting `tls_client_ca_file` is there.
    pub certificates: bool,
}

/// A section that needs a setting.
#[derive(Clone, Debug)]
pub(super) struct NeedingSection {
    name: &'static str,
    setting: &'static str,
    is_verified: fn(VerifiedCredentials) -> bool,
}

pub(super) const TOKENS: NeedingSection = NeedingSection {
    name: "[tokens]",
    setting: "tokens_file",
    is_verified: |verified| verified.tokens,
};

pub(super) const CERTIFICATES: NeedingSection = NeedingSection {
    name: "[certificates]",
    setting: "tls_client_ca_file",
    is_verified: |verified| verified.certificates,
};

/// The sections of one policy that need settings, each with its line.
#[derive(Clone, Debug, Default)]
pub(super) struct NeededSettings(Vec<(usize, NeedingSection)>);

impl NeededSettings {
    /// Notes a section of the policy.
    pub(super) fn note(&mut self, section: NeedingSection, line: usize) {
        self.0.push((line, section));
    }

    /// The sections without their setting, in the order of their lines.
    pub(super) fn unverified(&self, verified: VerifiedCredentials) -> Vec<PolicyError> {
        let lacking = self.0.iter().filter(|(_, section)| !(section.is_verified)(verified));
        let mut warnings: Vec<_> = lacking
            .map(|(line, NeedingSection { name, setting, .. })| PolicyError {
                line: *line,
                message: format!("{name} has no effect: the setting {setting} is empty"),
            })
            .collect();
        warnings.sort();
        warnings
    }
}
