//! A database with stock, the handler, and batches for it as the consumer gives them.

use std::sync::Arc;

use inventory::handlers::Commands;
use inventory::store;
use oncebox::{BatchFailure, BatchHandler, Codec, Delivery, Outbox};
use schemas::InventoryCommand;
use schemas::inventory::{CommitStock, ReleaseStock, ReserveStock, StockLine};
use sqlx::PgPool;
use testkit::TestDb;
use uuid::Uuid;

pub(crate) struct Shop {
    pub(crate) db: TestDb,
    pub(crate) codec: Codec,
    pub(crate) handler: Arc<Commands>,
}

impl Shop {
    pub(crate) async fn open(stock: &[(&str, i64)]) -> Self {
        let db = TestDb::empty("inventory").await;
        store::migrate(db.pool()).await.unwrap();
        let codec = Codec::new(&testkit::registry_address(), Some(db.pool().clone())).unwrap();
        for (product, on_hand) in stock {
            sqlx::query("insert into stock (product, on_hand) values ($1, $2)")
                .bind(product)
                .bind(on_hand)
                .execute(db.pool())
                .await
                .unwrap();
        }
        let handler = Arc::new(Commands::new(Outbox::new(codec.clone(), "inventory", "")));
        Self { db, codec, handler }
    }

    /// What the consumer does with a batch: one transaction; a conflict is tried again.
    pub(crate) async fn deliver(
        &self,
        batch: &[Delivery<InventoryCommand>],
    ) -> Result<(), BatchFailure> {
        deliver(self.db.pool(), &self.handler, batch).await
    }

    pub(crate) async fn level(&self, product: &str) -> (i64, i64) {
        sqlx::query_as("select on_hand, reserved from stock where product = $1")
            .bind(product)
            .fetch_one(self.db.pool())
            .await
            .unwrap()
    }

    pub(crate) async fn orders_in(&self, status: &str) -> i64 {
        sqlx::query_scalar("select count(*) from reservations where status = $1")
            .bind(status)
            .fetch_one(self.db.pool())
            .await
            .unwrap()
    }

    /// The answers to an order so far: short type names, in the order of the outbox.
    pub(crate) async fn answers(&self, order: Uuid) -> Vec<String> {
        let types: Vec<String> = sqlx::query_scalar(
            "select headers->>'ce_type' from oncebox.outbox where key = $1 order by seq",
        )
        .bind(order.to_string().into_bytes())
        .fetch_all(self.db.pool())
        .await
        .unwrap();
        types
            .into_iter()
            .map(|name| name.rsplit('.').next().unwrap().to_owned())
            .collect()
    }

    /// No unit is promised twice, none appears, none is lost.
    pub(crate) async fn assert_books_balance(&self, product: &str, at_first: i64) {
        let (held, gone): (i64, i64) = sqlx::query_as(
            "select coalesce(sum(l.quantity) filter (where r.status = 'reserved'), 0)::bigint,
                    coalesce(sum(l.quantity) filter (where r.status = 'committed'), 0)::bigint
             from reservations r join reservation_lines l using (order_id)
             where l.product = $1",
        )
        .bind(product)
        .fetch_one(self.db.pool())
        .await
        .unwrap();
        assert_eq!(
            self.level(product).await,
            (at_first - gone, held),
            "{product}"
        );
    }
}

pub(crate) async fn deliver(
    pool: &PgPool,
    handler: &Commands,
    batch: &[Delivery<InventoryCommand>],
) -> Result<(), BatchFailure> {
    for _ in 0..50 {
        let mut tx = pool.begin().await.unwrap();
        match handler.handle(&mut tx, batch).await {
            Ok(()) => {
                tx.commit().await.unwrap();
                return Ok(());
            }
            Err(BatchFailure::Whole(f)) if f.code == "inventory.ledger_conflict" => continue,
            Err(other) => return Err(other),
        }
    }
    panic!("the conflict does not go away");
}

pub(crate) fn delivery(message: impl Into<InventoryCommand>) -> Delivery<InventoryCommand> {
    let message = message.into();
    let key = message.order_id().to_string();
    let mut delivery = testkit::delivery("inventory.commands", message);
    delivery.record.key = Some(key.into());
    delivery
}

pub(crate) fn reserve(order_id: Uuid, lines: &[(&str, i32)]) -> Delivery<InventoryCommand> {
    let lines = lines.iter().map(|(product, quantity)| StockLine {
        product: (*product).to_owned(),
        quantity: *quantity,
    });
    delivery(ReserveStock {
        order_id,
        lines: lines.collect(),
    })
}

pub(crate) fn commit(order_id: Uuid) -> Delivery<InventoryCommand> {
    delivery(CommitStock { order_id })
}

pub(crate) fn release(order_id: Uuid) -> Delivery<InventoryCommand> {
    delivery(ReleaseStock {
        order_id,
        reason: "test".to_owned(),
    })
}
