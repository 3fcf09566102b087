//! Records of a topic: browsing and searching.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use http_kit::{Cursor, Limit, Path, Problem, ProblemBody, Query, StrictJson};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problems::parameter;
use super::views::RecordPage;
use super::{App, bytes};
use crate::domain::position::Position;
use crate::inspect::{Filter, Isolation, Page, PageRequest, Start};

/// Where a page stopped. The topic is in it, so that a cursor of one topic is not taken for another's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    topic: String,
    positions: BTreeMap<i32, i64>,
    ends: BTreeMap<i32, i64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum See {
    #[default]
    ReadCommitted,
    ReadUncommitted,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Browse {
    /// Only this partition.
    partition: Option<i32>,
    /// Begin at this offset; needs `partition`. The same as `from=<offset>`.
    offset: Option<i64>,
    /// Where to begin: `latest` (the newest records; when absent), `earliest`, an offset, an instant, or an age such as `-15m`.
    #[param(example = "earliest")]
    from: Option<String>,
    /// Whether records of open and aborted transactions are shown.
    #[serde(default)]
    #[param(inline)]
    isolation: See,
    /// How many; 1 to 100.
    #[serde(default)]
    limit: Limit,
    /// The `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<Place>>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Find {
    /// Records with exactly this key.
    key: Option<String>,
    /// Records of this event.
    event_id: Option<String>,
    /// Only this partition.
    partition: Option<i32>,
    /// Where to begin: `earliest` (when absent), an offset, an instant, or an age such as `-2h`.
    #[param(example = "-2h")]
    from: Option<String>,
    /// Where to stop, likewise; the end of the topic when absent.
    to: Option<String>,
    /// Whether records of open and aborted transactions are searched.
    #[serde(default)]
    #[param(inline)]
    isolation: See,
    /// How many; 1 to 100.
    #[serde(default)]
    limit: Limit,
    /// The `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<Place>>,
}

/// Records of a topic, decoded through the schema registry.
///
/// `next` goes on after the page, also at the end of the topic: ask again with it for new records.
#[utoipa::path(get, path = "/v1/topics/{topic}/records", tag = "kafka", security(("token" = [])),
    params(("topic" = String, Path, description = "full name", example = "order.events"), Browse),
    responses((status = 200, body = RecordPage), (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn browse(
    State(app): State<Arc<App>>,
    Path(topic): Path<String>,
    Query(query): Query<Browse>,
) -> Result<StrictJson<RecordPage>, Problem> {
    let start = match (query.cursor, query.offset, query.from) {
        (Some(cursor), None, None) => go_on(cursor, &topic, query.partition, false)?,
        (Some(_), ..) => {
            return Err(parameter(
                "cursor",
                "stands alone: leave from and offset out",
            ));
        }
        (None, Some(_), Some(_)) => return Err(parameter("offset", "and from exclude each other")),
        (None, Some(offset), None) if offset < 0 => {
            return Err(parameter("offset", "must not be negative"));
        }
        (None, Some(offset), None) => Start::From {
            partition: query.partition,
            from: Position::Offset(offset),
            to: None,
        },
        (None, None, from) => {
            match position("from", from.as_deref())?.unwrap_or(Position::Latest) {
                Position::Latest => Start::Newest {
                    partition: query.partition,
                },
                from => Start::From {
                    partition: query.partition,
                    from,
                    to: None,
                },
            }
        }
    };
    let page = read(
        &app,
        topic.clone(),
        start,
        None,
        query.isolation,
        query.limit,
    )
    .await?;
    let place = Place {
        topic,
        positions: page.positions.clone(),
        ends: BTreeMap::new(),
    };
    Ok(StrictJson(view(&app, page, Some(place)).await))
}

/// Records with a key, or of an event, within a range.
///
/// A search reads every record of its range, for a limited time. `truncated` tells that it did not get through;
/// then, and when `limit` records were found, `next` goes on where it stopped.
#[utoipa::path(get, path = "/v1/topics/{topic}/find", tag = "kafka", security(("token" = [])),
    params(("topic" = String, Path, description = "full name", example = "order.events"), Find),
    responses((status = 200, body = RecordPage), (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn find(
    State(app): State<Arc<App>>,
    Path(topic): Path<String>,
    Query(query): Query<Find>,
) -> Result<StrictJson<RecordPage>, Problem> {
    let filter = match (query.key, query.event_id) {
        (Some(key), None) => Filter::Key(key.into_bytes()),
        (None, Some(id)) => Filter::EventId(id),
        _ => {
            return Err(parameter(
                "key",
                "say what to find: key or event_id, one of them",
            ));
        }
    };
    let start = match (query.cursor, &query.from, &query.to) {
        (Some(cursor), None, None) => go_on(cursor, &topic, query.partition, true)?,
        (Some(_), ..) => return Err(parameter("cursor", "stands alone: leave from and to out")),
        (None, from, to) => Start::From {
            partition: query.partition,
            from: position("from", from.as_deref())?.unwrap_or(Position::Earliest),
            to: position("to", to.as_deref())?,
        },
    };
    let page = read(
        &app,
        topic.clone(),
        start,
        Some(filter),
        query.isolation,
        query.limit,
    )
    .await?;
    let place = (!page.at_end()).then(|| Place {
        topic,
        positions: page.positions.clone(),
        ends: page.ends.clone(),
    });
    Ok(StrictJson(view(&app, page, place).await))
}

fn position(name: &str, text: Option<&str>) -> Result<Option<Position>, Problem> {
    text.map(|text| {
        text.parse()
            .map_err(|error| parameter(name, format!("{error}")))
    })
    .transpose()
}

fn go_on(
    cursor: Cursor<Place>,
    topic: &str,
    partition: Option<i32>,
    bounded: bool,
) -> Result<Start, Problem> {
    let Cursor(mut place) = cursor;
    if place.topic != topic {
        return Err(parameter(
            "cursor",
            format!("belongs to topic {}", place.topic),
        ));
    }
    if let Some(partition) = partition {
        place
            .positions
            .retain(|candidate, _| *candidate == partition);
    }
    Ok(Start::At {
        positions: place.positions,
        ends: if bounded { place.ends } else { BTreeMap::new() },
    })
}

async fn read(
    app: &App,
    topic: String,
    start: Start,
    filter: Option<Filter>,
    isolation: See,
    limit: Limit,
) -> Result<Page, Problem> {
    let isolation = match isolation {
        See::ReadCommitted => Isolation::Committed,
        See::ReadUncommitted => Isolation::Uncommitted,
    };
    let request = PageRequest {
        topic,
        start,
        filter,
        limit: limit.size(),
        isolation,
        time_limit: app.read_time_limit,
    };
    Ok(app.inspector.page(request).await?)
}

async fn view(app: &App, page: Page, next: Option<Place>) -> RecordPage {
    let (at_end, truncated, scanned) = (page.at_end(), page.truncated, page.scanned);
    let mut items = Vec::with_capacity(page.records.len());
    for record in page.records {
        items.push(bytes::record(&app.codec, record).await);
    }
    RecordPage {
        items,
        next: next.map(|place| Cursor(place).to_string()),
        at_end,
        truncated,
        scanned,
    }
}
