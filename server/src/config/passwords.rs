//! The settings of passwords.

use super::{
    settings::{PASSWORD_MEMORY, PASSWORD_PASSES, PASSWORD_THREADS},
    values::{self, SettingValues},
};

/// How passwords are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passwords {
    /// `password_memory`: the memory of a hash, in bytes. Default 19 MiB.
    pub memory: usize,
    /// `password_passes`: how often it is passed over. Default 2.
    pub passes: u32,
    /// `password_threads`: the threads that hash; none is as many as there are cores and as their
    /// memory leaves room for.
    pub threads: Option<u32>,
}

impl Passwords {
    pub(super) fn read(values: &mut SettingValues) -> Option<Self> {
        let memory = values.read(&PASSWORD_MEMORY, values::size(7 << 20..=1 << 30));
        let passes = values.read(&PASSWORD_PASSES, values::whole(1..=100));
        let threads = values.read(&PASSWORD_THREADS, |text| match text {
            "auto" => Ok(None),
            text => values::whole(1..=64)(text)
                .map(Some)
                .map_err(|message| format!("{message}, or auto")),
        });
        Some(Self { memory: memory?, passes: passes?, threads: threads? })
    }
}
