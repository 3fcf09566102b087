//! Which known name a mistyped one probably meant.

/// The nearest of `known`, if it is near enough to be a plausible slip.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(likeness, _)| *likeness > 0.75)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = [
            "kafka",
            "database_url",
            "http_address",
            "log_format",
            "log_filter",
        ];
        assert_eq!(nearest("databse_url", known), Some("database_url"));
        assert_eq!(nearest("kafak", known), Some("kafka"));
        assert_eq!(nearest("log_fromat", known), Some("log_format"));
        assert_eq!(nearest("zebra", known), None);
        assert_eq!(nearest("kafka", []), None);
    }
}
