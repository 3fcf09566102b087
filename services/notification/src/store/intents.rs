//! What is written before anything is sent.

use std::collections::HashMap;

use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::domain::{Channel, Recipient, Template};

/// A message that an order is to get.
#[derive(Debug, Clone)]
pub struct Intent {
    /// The order.
    pub order: Uuid,
    /// Which text.
    pub template: Template,
    /// By which way.
    pub channel: Channel,
    /// To whom, where the order said.
    pub recipient: Option<Recipient>,
    /// Its subject.
    pub subject: String,
}

#[derive(Debug, FromRow)]
struct Opened {
    id: Uuid,
    order_id: Uuid,
    template: String,
}

/// Commits the intents, which must be of different orders or templates, and returns the ids of those that are not
/// finished yet.
///
/// An intent that is there already keeps its id; while it is pending it takes on the way and the address that hold now,
/// so that a mail server which was set up meanwhile is used.
///
/// # Errors
/// The database's.
pub async fn open(
    pool: &PgPool,
    intents: &[Intent],
) -> Result<HashMap<(Uuid, Template), Uuid>, sqlx::Error> {
    if intents.is_empty() {
        return Ok(HashMap::new());
    }
    // The order of the rows is the order of their locks: two instances at the same orders must not block each other.
    let rows: Vec<Opened> = sqlx::query_as(
        "insert into notification_log as n (id, order_id, template, channel, recipient, subject)
         select id, order_id, template, channel, recipient, subject
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[])
              as i (id, order_id, template, channel, recipient, subject)
         order by order_id, template
         on conflict (order_id, template) do update
         set channel = excluded.channel, recipient = excluded.recipient, subject = excluded.subject
         where n.status = 'pending'
         returning n.id, n.order_id, n.template",
    )
    .bind(intents.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
    .bind(
        intents
            .iter()
            .map(|intent| intent.order)
            .collect::<Vec<_>>(),
    )
    .bind(
        intents
            .iter()
            .map(|intent| intent.template.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(
        intents
            .iter()
            .map(|intent| intent.channel.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(
        intents
            .iter()
            .map(|intent| intent.recipient.as_ref().map_or("", Recipient::expose))
            .collect::<Vec<_>>(),
    )
    .bind(
        intents
            .iter()
            .map(|intent| intent.subject.as_str())
            .collect::<Vec<_>>(),
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some(((row.order_id, Template::parse(&row.template)?), row.id)))
        .collect())
}
