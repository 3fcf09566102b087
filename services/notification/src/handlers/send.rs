//! The first phase: intents, messages, results.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Instant;

use futures::StreamExt as _;
use futures::stream;
use oncebox::{BatchFailure, Cause, Delivery, Failure};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Notifications, OrderOutcome};
use crate::domain::{Channel, Letter, Recipient, Status};
use crate::happenings::{MessageLogged, MessageNotSent, MessageSent};
use crate::mailer::{Mail, NotSent};
use crate::store::intents::{self, Intent};
use crate::store::results::{self, Tried};

/// A message of the batch.
struct Task {
    /// Which records ask for it: more than one when an outcome was told twice.
    records: Vec<usize>,
    id: Uuid,
    order: Uuid,
    recipient: Option<Recipient>,
    letter: Letter,
    cause: Cause,
}

/// What came of it. Nothing when the server was found away before its turn.
type Ended = Option<(Task, Result<(), NotSent>)>;

impl Notifications {
    pub(super) async fn send_all(
        &self,
        batch: &[Delivery<OrderOutcome>],
    ) -> Result<(), BatchFailure> {
        let tasks = self.open(batch).await?;
        // After the first outage the others are left alone: they would only wait for it one by one.
        let away = CancellationToken::new();
        let mut sending = stream::iter(tasks)
            .map(|task| self.send(task, &away))
            .buffer_unordered(self.concurrency)
            .ready_chunks(self.concurrency);
        let mut outage = None;
        let mut failed: Vec<(usize, Failure)> = Vec::new();
        // Stored bunch by bunch: the sooner a result is stored, the smaller the window in which it can be lost.
        while let Some(bunch) = sending.next().await {
            let bunch: Vec<_> = bunch.into_iter().flatten().collect();
            let tries: Vec<Tried> = bunch.iter().map(tried).collect();
            results::store(&self.pool, &tries).await?;
            for (task, result) in bunch {
                match result {
                    Err(error) if error.is_outage() => {
                        outage.get_or_insert_with(|| Failure::from(error));
                    }
                    Err(error) if !error.is_refusal() => {
                        let failure = Failure::from(error);
                        failed.extend(task.records.iter().map(|at| (*at, failure.clone())));
                    }
                    _ => {}
                }
            }
        }
        match outage {
            Some(outage) => Err(BatchFailure::Whole(outage)),
            None if failed.is_empty() => Ok(()),
            None => Err(BatchFailure::Records(failed)),
        }
    }

    /// Commits what is to be sent, before anything is; returns what is not finished already.
    async fn open(&self, batch: &[Delivery<OrderOutcome>]) -> Result<Vec<Task>, sqlx::Error> {
        let mut tasks: Vec<Task> = Vec::with_capacity(batch.len());
        let mut known = HashMap::with_capacity(batch.len());
        for (index, delivery) in batch.iter().enumerate() {
            let outcome = &delivery.message;
            match known.entry((outcome.order_id(), outcome.template())) {
                Entry::Occupied(at) => {
                    let at: usize = *at.get();
                    tasks[at].records.push(index);
                }
                Entry::Vacant(place) => {
                    place.insert(tasks.len());
                    tasks.push(Task {
                        records: vec![index],
                        id: Uuid::nil(),
                        order: outcome.order_id(),
                        recipient: outcome.recipient(),
                        letter: outcome.letter(),
                        cause: delivery.cause(),
                    });
                }
            }
        }
        let intents: Vec<Intent> = tasks.iter().map(|task| self.intent(task)).collect();
        let pending = intents::open(&self.pool, &intents).await?;
        tasks.retain_mut(
            |task| match pending.get(&(task.order, task.letter.template)) {
                Some(id) => {
                    task.id = *id;
                    true
                }
                None => false,
            },
        );
        Ok(tasks)
    }

    fn intent(&self, task: &Task) -> Intent {
        let channel = match (&self.mailer, &task.recipient) {
            (Some(_), Some(_)) => Channel::Email,
            _ => Channel::Log,
        };
        Intent {
            order: task.order,
            template: task.letter.template,
            channel,
            recipient: task.recipient.clone(),
            subject: task.letter.subject.clone(),
        }
    }

    async fn send(&self, task: Task, away: &CancellationToken) -> Ended {
        if away.is_cancelled() {
            return None;
        }
        let context = telemetry::Context {
            correlation: task.cause.correlation.clone(),
            causation: task.cause.causation.map(|id| id.as_uuid()),
            trace: task.cause.trace.child(),
        };
        let result = telemetry::context::scope(context, self.deliver(&task)).await;
        if result.as_ref().is_err_and(NotSent::is_outage) {
            away.cancel();
        }
        Some((task, result))
    }

    async fn deliver(&self, task: &Task) -> Result<(), NotSent> {
        let (Some(mailer), Some(recipient)) = (&self.mailer, &task.recipient) else {
            telemetry::emit(MessageLogged {
                id: task.id,
                order: task.order,
                recipient: task.recipient.as_ref(),
                letter: &task.letter,
            });
            return Ok(());
        };
        let started = Instant::now();
        let mail = Mail {
            id: task.id,
            recipient,
            subject: &task.letter.subject,
            text: &task.letter.text,
        };
        let result = mailer.send(&mail).await;
        let (id, order, template) = (task.id, task.order, task.letter.template);
        match &result {
            Ok(()) => telemetry::emit(MessageSent {
                id,
                order,
                template,
                recipient,
                took: started.elapsed(),
            }),
            Err(error) => telemetry::emit(MessageNotSent {
                id,
                order,
                template,
                recipient,
                error,
            }),
        }
        result
    }
}

fn tried((task, result): &(Task, Result<(), NotSent>)) -> Tried {
    let error = result.as_ref().err();
    let status = match error {
        None => Status::Sent,
        Some(error) if error.is_refusal() => Status::Failed,
        Some(_) => Status::Pending,
    };
    Tried {
        id: task.id,
        status,
        counted: !error.is_some_and(NotSent::is_outage),
        error: error.map(ToString::to_string),
    }
}
