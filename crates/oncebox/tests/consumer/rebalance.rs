//! Members come and go under load: nothing lost, nothing twice, order per key kept.

use crate::rig::Rig;
use crate::script::{Act, Scripted};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn members_that_join_and_leave_lose_and_double_nothing() {
    let mut rig = Rig::new("rebalance", 4).await;
    rig.settings.batch_max_records = 10;
    let slow = || Scripted::new(|_, _| Act::Take(Duration::from_millis(1)));
    let first = rig.start(&slow());
    let mut others = Vec::new();
    for n in 0..1_200 {
        if n % 200 == 100 {
            others.push(rig.start(&slow()));
        }
        if n % 400 == 399
            && let Some(leaving) = others.pop()
        {
            leaving.stop().await;
        }
        rig.note(n % 4, &format!("key-{}", n % 4), &format!("note-{n:04}"))
            .await;
    }
    for n in 1_196..1_200 {
        rig.effect(&format!("note-{n}")).await;
    }
    first.stop().await;
    for other in others {
        other.stop().await;
    }
    let counts: (i64, i64) =
        sqlx::query_as("select count(*), count(distinct event_id) from effects")
            .fetch_one(rig.pool())
            .await
            .unwrap();
    assert_eq!(counts, (1_200, 1_200));
    let unordered: i64 = sqlx::query_scalar(
        "select count(*) from (select record_offset, lag(record_offset) over (partition by key order by at) as before
         from effects) as pairs where record_offset <= before",
    )
    .fetch_one(rig.pool())
    .await
    .unwrap();
    assert_eq!(unordered, 0);
    assert!(rig.letters().await.is_empty());
}
