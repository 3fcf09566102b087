//! Names that somebody who mistyped one may have meant.

/// How alike two names must be to be worth proposing (Jaro-Winkler, 1 is equal).
const ALIKE: f64 = 0.75;
const PROPOSALS: usize = 3;

/// The names most like `wanted`, best first; few, and none that is far off.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let wanted = wanted.to_lowercase();
    let mut scored: Vec<(f64, &str)> = names
        .into_iter()
        .filter_map(|name| {
            let lower = name.to_lowercase();
            // Somebody who leaves the prefix or the end of a long topic name out means it all the same.
            let score = if lower.contains(&wanted) {
                1.0
            } else {
                strsim::jaro_winkler(&wanted, &lower)
            };
            (score >= ALIKE).then_some((score, name))
        })
        .collect();
    scored.sort_by(|(a, left), (b, right)| b.total_cmp(a).then_with(|| left.cmp(right)));
    scored
        .into_iter()
        .take(PROPOSALS)
        .map(|(_, name)| name.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposes_what_was_meant_and_nothing_far_off() {
        let names = ["order.events", "payment.events", "zzz"];
        assert_eq!(
            nearest("order.event", names).first().map(String::as_str),
            Some("order.events")
        );
        assert_eq!(
            nearest("ordre.events", names).first().map(String::as_str),
            Some("order.events")
        );
        assert!(nearest("kitchen-sink-42", names).is_empty());
    }
}
