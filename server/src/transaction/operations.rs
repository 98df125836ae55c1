//! Several writes as one.

use std::sync::atomic::{AtomicUsize, Ordering};

use bookstore_proto::v1::ExecuteResponse;
use bookstore_store::{Connection, ConstraintCheck, Retrace, StoreError, Write};
use futures_util::future::BoxFuture;
use prost::Message;
use prost_types::Any;

/// One of the writes.
pub struct Part {
    /// Where the request has it: `requests[3].`.
    pub prefix: String,
    /// The type of its response, as an `Any` names it.
    pub answer: String,
    /// The write.
    pub write: Box<dyn Write>,
}

/// Writes that happen together or not at all, in their order.
pub struct ExecuteWrites {
    parts: Vec<Part>,
    /// The greatest size of the answer, in bytes.
    limit: usize,
    /// The index of the write that was carried out last, or failed.
    reached: AtomicUsize,
}

impl ExecuteWrites {
    /// `limit` is the greatest size of the answer, in bytes.
    pub fn new(parts: Vec<Part>, limit: usize) -> Self {
        Self { parts, limit, reached: AtomicUsize::new(0) }
    }
}

impl Write for ExecuteWrites {
    fn name(&self) -> &'static str {
        "Execute"
    }

    fn prepare(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async {
            // One after the other, so that a call takes turns with others for what is scarce.
            for part in &mut self.parts {
                part.write.prepare().await?;
            }
            Ok(())
        })
    }

    fn apply<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        Box::pin(async {
            let mut answer = ExecuteResponse::default();
            for (index, Part { prefix, answer: name, write }) in self.parts.iter().enumerate() {
                self.reached.store(index, Ordering::Relaxed);
                let applied = write.apply(connection).await;
                let value = applied.map_err(|error| error.within(prefix))?;
                answer.responses.push(Any { type_url: name.clone(), value });
            }
            let (size, limit) = (answer.encoded_len(), self.limit);
            match size > limit {
                true => Err(StoreError::AnswerTooLarge { size, limit }),
                false => Ok(answer.encode_to_vec()),
            }
        })
    }

    fn constraint_checks(&self) -> Vec<ConstraintCheck> {
        let Some(failed) = self.parts.get(self.reached.load(Ordering::Relaxed)) else {
            return Vec::new();
        };
        let checks = failed.write.constraint_checks().into_iter();
        checks
            .map(|check| ConstraintCheck {
                field: format!("{}{}", failed.prefix, check.field),
                ..check
            })
            .collect()
    }

    fn way_to_failure(&self) -> Option<&dyn Retrace> {
        // The first write has none before it.
        (self.reached.load(Ordering::Relaxed) > 0).then_some(self as &dyn Retrace)
    }
}

impl Retrace for ExecuteWrites {
    fn retrace<'a>(&'a self, connection: &'a Connection) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async {
            for part in self.parts.iter().take(self.reached.load(Ordering::Relaxed)) {
                let applied = part.write.apply(connection).await;
                applied.map_err(|error| error.within(&part.prefix))?;
            }
            Ok(())
        })
    }
}
