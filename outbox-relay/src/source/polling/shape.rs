//! Whether the outbox is a table that the relay can read, said by table, column and right before anything is read.

use sqlx::{AssertSqlSafe, PgConnection};

use super::table::Table;
use crate::source::SourceError;

/// The table as it can be read; all that is wrong at once otherwise, so that it is mended at once.
pub(super) async fn check(
    connection: &mut PgConnection,
    table: &Table,
) -> Result<Table, SourceError> {
    let name = &table.name;
    let exists: bool = sqlx::query_scalar("select to_regclass($1) is not null")
        .bind(name)
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Err(SourceError::Shape(format!(
            "there is no table {name} that this user may see"
        )));
    }
    let mut table = table.clone();
    if table.expects_delays() && !has_column(connection, name, "not_before").await? {
        table = table.without_delays();
    }
    table.sequence = sequence(connection, &table).await?;
    let mut problems = Vec::new();
    if !fits(connection, &table).await? {
        for (part, expression, wanted) in table.parts() {
            problems.extend(problem_of(connection, name, part, expression, wanted).await?);
        }
    }
    let (readable, indexed): (bool, bool) = sqlx::query_as(
        "select has_table_privilege($1, 'select'),
                exists (select 1 from pg_index
                        where indrelid = to_regclass($1) and indisvalid
                          and pg_get_indexdef(indexrelid, 1, true) = $2)",
    )
    .bind(name)
    .bind(&table.xid)
    .fetch_one(connection)
    .await?;
    if !readable {
        problems.push("this user lacks the right to select from it".into());
    }
    if !indexed {
        // Each look would read the whole table.
        problems.push(format!("no index begins with the column {}", table.xid));
    }
    if problems.is_empty() {
        return Ok(table);
    }
    Err(SourceError::Shape(format!(
        "table {name} cannot be read: {}",
        problems.join("; ")
    )))
}

/// The sequence that numbers the rows, if there is one that this user may look at.
async fn sequence(
    connection: &mut PgConnection,
    table: &Table,
) -> Result<Option<String>, SourceError> {
    if !has_column(connection, &table.name, &table.seq).await? {
        return Ok(None);
    }
    let sequence = sqlx::query_scalar(
        "select case when has_sequence_privilege(name, 'select') then name end
         from (select pg_get_serial_sequence($1, $2) as name) as found",
    )
    .bind(&table.name)
    .bind(&table.seq)
    .fetch_one(connection)
    .await?;
    Ok(sequence)
}

async fn has_column(
    connection: &mut PgConnection,
    table: &str,
    column: &str,
) -> Result<bool, SourceError> {
    let has = sqlx::query_scalar(
        "select exists (select 1 from pg_attribute
         where attrelid = to_regclass($1) and attname = $2 and attnum > 0 and not attisdropped)",
    )
    .bind(table)
    .bind(column)
    .fetch_one(connection)
    .await?;
    Ok(has)
}

/// Whether every part has its type, by one question: the usual case, and a start that waits for one answer, not for nine.
async fn fits(connection: &mut PgConnection, table: &Table) -> Result<bool, SourceError> {
    let parts = table.parts();
    let kinds: Vec<_> = parts
        .iter()
        .map(|(_, expression, _)| format!("pg_typeof({expression})::text"))
        .collect();
    let sql = format!(
        "select array[{}] from (select (null::{}).*) as one_row",
        kinds.join(", "),
        table.name
    );
    let found: Result<Vec<String>, sqlx::Error> = sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(connection)
        .await;
    match found {
        Ok(found) => Ok(parts.iter().map(|(_, _, wanted)| *wanted).eq(found)),
        // Which one it is, is asked one by one.
        Err(sqlx::Error::Database(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What is wrong with one part: its expression is evaluated on a row of nulls, which needs no row and no right to read any.
async fn problem_of(
    connection: &mut PgConnection,
    table: &str,
    part: &str,
    expression: &str,
    wanted: &str,
) -> Result<Option<String>, SourceError> {
    let called = if expression == part {
        format!("column {part}")
    } else {
        format!("the expression {expression:?} for {part}")
    };
    let sql =
        format!("select pg_typeof({expression})::text from (select (null::{table}).*) as one_row");
    let found: Result<String, sqlx::Error> = sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(connection)
        .await;
    match found {
        Ok(kind) if kind == wanted => Ok(None),
        Ok(kind) => Ok(Some(format!("{called} is {kind}, and must be {wanted}"))),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42703") => {
            let missing = if expression == part {
                format!("{called} ({wanted}) is missing")
            } else {
                format!("{called} ({wanted}) fails: {}", error.message())
            };
            Ok(Some(missing))
        }
        // Class 42: syntax errors and access rule violations (PostgreSQL documentation, appendix A).
        Err(sqlx::Error::Database(error))
            if error.code().is_some_and(|code| code.starts_with("42")) =>
        {
            Ok(Some(format!(
                "{called} ({wanted}) fails: {}",
                error.message()
            )))
        }
        Err(error) => Err(error.into()),
    }
}
