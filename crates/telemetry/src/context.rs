//! What a piece of work belongs to: its correlation id, what caused it, and its place in a trace.
//!
//! The context follows the task. It does not follow `tokio::spawn`: a task started inside a scope opens a scope of its
//! own with [`current`] taken before.

use std::future::Future;

use uuid::Uuid;

use crate::TraceContext;

tokio::task_local! {
    static CONTEXT: Context;
}

/// What a piece of work belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The same for everything that follows from one request, across services; chosen by the first caller.
    pub correlation: String,
    /// The event that this work answers, when it answers one.
    pub causation: Option<Uuid>,
    /// This work's place in its trace.
    pub trace: TraceContext,
}

impl Context {
    /// A beginning: a new correlation id, no cause, a new trace.
    #[must_use]
    pub fn root() -> Self {
        Self {
            correlation: Uuid::now_v7().to_string(),
            causation: None,
            trace: TraceContext::root(),
        }
    }
}

/// The context of the running task, if it has one.
#[must_use]
pub fn current() -> Option<Context> {
    CONTEXT.try_with(Clone::clone).ok()
}

/// Runs `future` inside `context`; scopes nest, the innermost counts.
pub async fn scope<F: Future>(context: Context, future: F) -> F::Output {
    CONTEXT.scope(context, future).await
}

/// Runs `work`, which does not wait, inside `context`.
pub fn scope_sync<R>(context: Context, work: impl FnOnce() -> R) -> R {
    CONTEXT.sync_scope(context, work)
}

/// Looks at the current context without copying it.
pub(crate) fn peek(look: impl FnOnce(&Context)) {
    let _ = CONTEXT.try_with(look);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn scopes_nest_and_end() {
        assert_eq!(current(), None);
        let (outer, inner) = (Context::root(), Context::root());
        scope(outer.clone(), async {
            tokio::task::yield_now().await;
            assert_eq!(current().as_ref(), Some(&outer));
            scope(inner.clone(), async {
                assert_eq!(current().as_ref(), Some(&inner))
            })
            .await;
            assert_eq!(current().as_ref(), Some(&outer));
            let spawned = tokio::spawn(async { current() }).await.unwrap();
            assert_eq!(
                spawned, None,
                "a spawned task has no context of its own accord"
            );
        })
        .await;
        assert_eq!(current(), None);
    }
}
