//! Whether the outbox is a table that the relay can read, said by table, column and right before anything is read.

use sqlx::PgConnection;

use crate::source::SourceError;

/// What the relay reads, with the types that it decodes.
const COLUMNS: [(&str, &str); 8] = [
    ("seq", "bigint"),
    ("xid", "xid8"),
    ("event_id", "uuid"),
    ("topic", "text"),
    ("key", "bytea"),
    ("payload", "bytea"),
    ("headers", "jsonb"),
    ("created_at", "timestamp with time zone"),
];

/// All that is wrong at once, so that it is mended at once.
pub(super) async fn check(connection: &mut PgConnection) -> Result<(), SourceError> {
    let found: Vec<(String, String)> = sqlx::query_as(
        "select attname::text, format_type(atttypid, null) from pg_attribute
         where attrelid = to_regclass('oncebox.outbox') and attnum > 0 and not attisdropped",
    )
    .fetch_all(&mut *connection)
    .await?;
    if found.is_empty() {
        return Err(SourceError::Shape(
            "there is no table oncebox.outbox that this user may see".into(),
        ));
    }
    let mut problems: Vec<String> = COLUMNS
        .iter()
        .filter_map(|(name, wanted)| problem_of(&found, name, wanted))
        .collect();
    let (readable, indexed): (bool, bool) = sqlx::query_as(
        "select has_table_privilege('oncebox.outbox', 'select'),
                exists (select 1 from pg_index
                        where indrelid = 'oncebox.outbox'::regclass and indisvalid
                          and pg_get_indexdef(indexrelid, 1, true) = 'xid')",
    )
    .fetch_one(connection)
    .await?;
    if !readable {
        problems.push("this user lacks the right to select from it".into());
    }
    if !indexed {
        // Each look would read the whole table.
        problems.push("no index begins with the column xid".into());
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(SourceError::Shape(format!(
        "table oncebox.outbox cannot be read: {}",
        problems.join("; ")
    )))
}

fn problem_of(found: &[(String, String)], name: &str, wanted: &str) -> Option<String> {
    match found.iter().find(|(column, _)| column == name) {
        None => Some(format!("column {name} ({wanted}) is missing")),
        Some((_, kind)) if kind != wanted => {
            Some(format!("column {name} is {kind}, and must be {wanted}"))
        }
        Some(_) => None,
    }
}
