//! How far a consumer has come, noted in its database now and then: what tells a finished record from a new one when its
//! row is forgotten.

use sqlx::PgPool;

use crate::ownership::Place;

/// Notes that everything before `offset` is finished. It never goes back: what was finished stays finished.
pub(crate) async fn note(pool: &PgPool, place: Place<'_>, offset: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        r#"insert into oncebox.inbox_positions as present (consumer, topic, "partition", "offset") values ($1, $2, $3, $4)
           on conflict (consumer, topic, "partition") do update
               set "offset" = excluded."offset", noted_at = clock_timestamp()
               where present."offset" < excluded."offset""#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .bind(offset)
    .execute(pool)
    .await?;
    Ok(())
}
