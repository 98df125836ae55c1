//! How long the steps of an interactive transaction may take.

use std::time::Duration;

use bookstore_store::{Deadline, StoreError};
use sea_orm::DbErr;
use tokio::time::timeout;
use tonic::Status;

use super::session::{Next, TransactStream};
use crate::rpc::status;

/// How long the answer to a commit is waited for at least, whatever is left of the transaction's
/// timeout.
const COMMIT_WAIT: Duration = Duration::from_secs(5);

impl TransactStream {
    /// Waits no longer than the transaction may be open. The dropped future drops the transaction,
    /// which cancels its running statement.
    pub(super) async fn in_time<T>(
        &self,
        end: Deadline,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        match timeout(end.remaining(Duration::MAX), work).await {
            Ok(done) => done.map_err(|status| if end.has_passed() { self.late() } else { status }),
            Err(_) => Err(self.late()),
        }
    }

    /// Waits for a commit. It may take effect once it was sent, so its outcome is worth a wait beyond
    /// the transaction's timeout. If none comes, it stays unknown.
    pub(super) async fn commit_in_time(
        &self,
        end: Deadline,
        commit: impl Future<Output = Result<Next, Status>>,
    ) -> Result<Next, Status> {
        let wait = end.remaining(Duration::MAX).max(COMMIT_WAIT);
        match timeout(self.context.deadline.remaining(wait), commit).await {
            Ok(done) => done,
            Err(_) if self.context.deadline.has_passed() => Err(status::deadline_exceeded()),
            Err(_) => Err(self.error(&StoreError::CommitOutcomeUnknown(DbErr::Custom(
                "the commit was not answered in time".to_owned(),
            )))),
        }
    }

    /// The error after a timeout: the caller's deadline or the transaction's.
    pub(super) fn late(&self) -> Status {
        match self.context.deadline.has_passed() {
            true => status::deadline_exceeded(),
            false => self.error(&StoreError::TransactionTimeout),
        }
    }
}
