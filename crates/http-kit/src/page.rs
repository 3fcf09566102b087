//! Lists in pages: a limit, and a cursor that is opaque to the client.

use std::{borrow::Cow, fmt};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The entries, at most as many as asked for.
    pub items: Vec<T>,
    /// Cursor of the next page: pass it as `cursor`. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of rows that were fetched with [`Limit::and_one`]: the extra row only tells that there is a next
    /// page. `position` names the place after an item, as the query resumes there.
    pub fn of<P: Serialize>(
        mut items: Vec<T>,
        limit: Limit,
        position: impl FnOnce(&T) -> P,
    ) -> Self {
        let more = items.len() > limit.size();
        items.truncate(limit.size());
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| Cursor(position(last)).to_string());
        Self { items, next }
    }

    /// The same page with other items.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(convert).collect(),
            next: self.next,
        }
    }
}

/// How many entries a page may have: 1 to 100, 20 unless asked.
///
/// As a field of a query struct: `#[serde(default)] limit: Limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limit(u8);

impl Limit {
    /// The largest page.
    pub const MAX: u8 = 100;

    /// Number of entries.
    #[must_use]
    pub fn size(self) -> usize {
        self.0.into()
    }

    /// One row more than the page has: what a query's `limit` asks for, to see whether there is a next page.
    #[must_use]
    pub fn and_one(self) -> i64 {
        i64::from(self.0) + 1
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(20)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let number = text
            .parse::<u8>()
            .ok()
            .filter(|number| (1..=Self::MAX).contains(number));
        number.map(Self).ok_or_else(|| {
            de::Error::custom(format_args!("must be a number from 1 to {}", Self::MAX))
        })
    }
}

impl ToSchema for Limit {}

impl PartialSchema for Limit {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(Self::MAX))
            .default(Some(Self::default().0.into()))
            .into()
    }
}

/// A place in a list, as the service sees it; clients see an opaque text.
///
/// As a field of a query struct: `cursor: Option<Cursor<Position>>`. A text that this service did not make is refused
/// with 400 `request.query_invalid`; so is one that was altered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor<P>(pub P);

/// A few bytes tell a slip of the clipboard from a cursor. They are no signature: a cursor is a position, no permission.
const CHECK: usize = 4;

fn check(json: &[u8]) -> [u8; CHECK] {
    let digest = Sha256::digest(json);
    [digest[0], digest[1], digest[2], digest[3]]
}

impl<P: Serialize> fmt::Display for Cursor<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_vec(&self.0).map_err(|_| fmt::Error)?;
        let bytes = [&check(&json)[..], &json].concat();
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl<P: DeserializeOwned> std::str::FromStr for Cursor<P> {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        let (sum, json) = bytes.split_at_checked(CHECK).ok_or(InvalidCursor)?;
        if sum != check(json) {
            return Err(InvalidCursor);
        }
        serde_json::from_slice(json)
            .map(Self)
            .map_err(|_| InvalidCursor)
    }
}

/// A text that is no cursor of this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no cursor of this list; start again without one")]
pub struct InvalidCursor;

impl<P: Serialize> Serialize for Cursor<P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, P: DeserializeOwned> Deserialize<'de> for Cursor<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl<P> ToSchema for Cursor<P> {}

impl<P> PartialSchema for Cursor<P> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("the `next` of the page before"))
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Position = (u64, String);

    #[test]
    fn the_extra_row_becomes_the_next_page() {
        let limit: Limit = serde_json::from_str("\"2\"").unwrap();
        assert_eq!(limit.and_one(), 3);
        let page = Page::of(vec![1, 2, 3], limit, |last| *last);
        assert_eq!(page.items, [1, 2]);
        assert_eq!(page.next.unwrap().parse::<Cursor<u64>>(), Ok(Cursor(2)));
        assert_eq!(Page::of(vec![1, 2], limit, |last| *last).next, None);
        assert_eq!(Page::of(Vec::<u64>::new(), limit, |last| *last).next, None);
    }

    #[test]
    fn limits_are_kept() {
        for wrong in ["0", "101", "-1", "", "ten", "1.5", "256"] {
            assert!(
                serde_json::from_value::<Limit>(wrong.into()).is_err(),
                "{wrong}"
            );
        }
        assert_eq!(
            serde_json::from_value::<Limit>("100".into())
                .unwrap()
                .size(),
            100
        );
    }

    #[test]
    fn an_altered_cursor_is_refused_at_every_position() {
        let cursor = Cursor::<Position>((42, "0198c0de".into())).to_string();
        assert_eq!(
            cursor.parse::<Cursor<Position>>().unwrap().0,
            (42, "0198c0de".into())
        );
        for at in 0..cursor.len() {
            for other in ['A', 'z', '-', '=', ' '] {
                let mut altered = cursor.clone();
                altered.replace_range(at..=at, &other.to_string());
                if altered != cursor {
                    assert_eq!(
                        altered.parse::<Cursor<Position>>(),
                        Err(InvalidCursor),
                        "{altered}"
                    );
                }
            }
        }
        for wrong in ["", "AAAA", "{}"] {
            assert!(wrong.parse::<Cursor<Position>>().is_err(), "{wrong}");
        }
        assert!(
            Cursor("of another list")
                .to_string()
                .parse::<Cursor<Position>>()
                .is_err()
        );
    }
}
