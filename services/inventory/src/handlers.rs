//! Commands in, answers out: a batch is decided in memory and written by a handful of statements.

mod command;

use async_trait::async_trait;
use oncebox::{BatchFailure, BatchHandler, Classify, Delivery, ErrorClass, Failure, Outbox};
use schemas::InventoryCommand;
use schemas::inventory as events;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::{Answer, Command, InvalidCommand, Refusal};
use crate::happenings::BatchDecided;
use crate::store;

/// Carries out the commands of one partition's batch, in order.
#[derive(Debug)]
pub struct Commands {
    outbox: Outbox,
}

impl Commands {
    /// Answers go out through `outbox`.
    pub fn new(outbox: Outbox) -> Self {
        Self { outbox }
    }

    async fn answer(
        &self,
        tx: &mut PgConnection,
        batch: &[Delivery<InventoryCommand>],
        answers: Vec<(usize, Answer)>,
    ) -> Result<(), Failure> {
        let mut outbox = self.outbox.batch();
        for (index, answer) in answers {
            let cause = batch[index].cause();
            let order_id: Uuid = batch[index].message.order_id();
            match answer {
                Answer::Reserved => {
                    outbox
                        .push(&events::StockReserved { order_id }, &cause)
                        .await
                }
                Answer::Committed => {
                    outbox
                        .push(&events::StockCommitted { order_id }, &cause)
                        .await
                }
                Answer::Released => {
                    outbox
                        .push(&events::StockReleased { order_id }, &cause)
                        .await
                }
                Answer::Rejected(shortages) => {
                    let shortages = shortages.into_iter().map(command::shortage).collect();
                    outbox
                        .push(
                            &events::StockRejected {
                                order_id,
                                shortages,
                            },
                            &cause,
                        )
                        .await
                }
            }?;
        }
        outbox.insert(tx).await?;
        Ok(())
    }
}

#[async_trait]
impl BatchHandler for Commands {
    type Message = InventoryCommand;

    async fn handle(
        &self,
        tx: &mut PgConnection,
        batch: &[Delivery<InventoryCommand>],
    ) -> Result<(), BatchFailure> {
        let (commands, refused) = parse(batch);
        if !refused.is_empty() {
            return Err(BatchFailure::Records(refused));
        }

        let mut warehouse = store::batch::load(tx, &commands).await?;
        let mut answers = Vec::with_capacity(commands.len());
        let mut refused = Vec::new();
        let mut decided = BatchDecided::default();
        for (index, command) in &commands {
            match warehouse.apply(command) {
                Ok(answer) => {
                    decided.count(&answer);
                    answers.push((*index, answer));
                }
                Err(refusal) => refused.push((*index, Failure::from(refusal))),
            }
        }
        // Nothing has been written yet: the others go through in the next try, without the refused ones.
        if !refused.is_empty() {
            return Err(BatchFailure::Records(refused));
        }

        store::batch::save(tx, warehouse.into_changes()).await?;
        self.answer(tx, batch, answers)
            .await
            .map_err(BatchFailure::Whole)?;
        telemetry::emit(decided);
        Ok(())
    }
}

type Parsed = (Vec<(usize, Command)>, Vec<(usize, Failure)>);

fn parse(batch: &[Delivery<InventoryCommand>]) -> Parsed {
    let mut commands = Vec::with_capacity(batch.len());
    let mut refused = Vec::new();
    for (index, delivery) in batch.iter().enumerate() {
        match command::parse(&delivery.message) {
            Ok(command) => commands.push((index, command)),
            Err(invalid) => refused.push((index, Failure::from(invalid))),
        }
    }
    (commands, refused)
}

impl Classify for InvalidCommand {
    fn class(&self) -> ErrorClass {
        ErrorClass::Permanent
    }

    fn code(&self) -> &'static str {
        "inventory.invalid_command"
    }
}

impl Classify for Refusal {
    fn class(&self) -> ErrorClass {
        ErrorClass::Permanent
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NothingReserved(_) => "inventory.nothing_reserved",
            Self::LedgerMismatch { .. } => "inventory.ledger_mismatch",
        }
    }
}
