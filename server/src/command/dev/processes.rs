//! The processes of a cluster. Each of them has the data directory as its working directory, so they
//! are found also if the lock file is lost or names another program's process.

use std::path::Path;

/// The processes that work in the data directory; `None` if the system does not tell.
#[cfg(target_os = "linux")]
pub(super) fn of(data: &Path) -> Option<Vec<u32>> {
    let entries = std::fs::read_dir("/proc").ok()?.flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let works_there = |process: &u32| {
        std::fs::read_link(format!("/proc/{process}/cwd")).is_ok_and(|folder| folder == data)
    };
    Some(processes.filter(works_there).collect())
}

/// Other systems have no such files.
#[cfg(not(target_os = "linux"))]
pub(super) fn of(_: &Path) -> Option<Vec<u32>> {
    None
}
