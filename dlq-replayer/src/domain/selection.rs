//! Which of the chosen dead letters are replayed, and why not the others.

use std::collections::{BTreeMap, HashSet};

/// A chosen dead letter, as far as the choice is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id in the index.
    pub id: i64,
    /// It has been replayed before.
    pub replayed: bool,
    /// Where a replay would go.
    pub replay_topic: Option<String>,
    /// Why there can be none, where there can be none.
    pub unreplayable: Option<String>,
}

/// Why somebody's explicit choice is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Ids that the index does not hold.
    #[error("there is no dead letter {}", list(ids))]
    Unknown {
        /// Those ids.
        ids: Vec<i64>,
    },
    /// Letters that were replayed before.
    #[error("already replayed: {}", list(ids))]
    AlreadyReplayed {
        /// Their ids.
        ids: Vec<i64>,
    },
    /// Letters that cannot be replayed.
    #[error("dead letter {id} cannot be replayed: {reason}")]
    Impossible {
        /// The first of them.
        id: i64,
        /// Why.
        reason: String,
    },
    /// Nobody made the topic that the failing group would read replays from.
    #[error("topic {topic} does not exist, so no consumer would get the replay")]
    NoTopic {
        /// The topic.
        topic: String,
    },
}

/// What a replay of everything that matches comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be replayed.
    pub ids: Vec<i64>,
    /// Left alone, with how many for each reason.
    pub skipped: BTreeMap<String, u64>,
}

/// Judges a choice by ids: all of it or nothing, so that nobody has to find out which part happened.
///
/// # Errors
/// The first [`Refusal`] that applies.
pub fn judge_ids(
    wanted: &[i64],
    found: &[Candidate],
    again: bool,
    topics: &HashSet<String>,
) -> Result<Vec<i64>, Refusal> {
    let known: HashSet<i64> = found.iter().map(|candidate| candidate.id).collect();
    let unknown: Vec<i64> = wanted
        .iter()
        .copied()
        .filter(|id| !known.contains(id))
        .collect();
    if !unknown.is_empty() {
        return Err(Refusal::Unknown { ids: unknown });
    }
    let replayed: Vec<i64> = found
        .iter()
        .filter(|candidate| candidate.replayed)
        .map(|candidate| candidate.id)
        .collect();
    if !again && !replayed.is_empty() {
        return Err(Refusal::AlreadyReplayed { ids: replayed });
    }
    for candidate in found {
        match judge(candidate, topics) {
            Judgement::Replay => {}
            Judgement::Impossible(reason) => {
                return Err(Refusal::Impossible {
                    id: candidate.id,
                    reason,
                });
            }
            Judgement::NoTopic(topic) => return Err(Refusal::NoTopic { topic }),
        }
    }
    Ok(found.iter().map(|candidate| candidate.id).collect())
}

/// Judges everything that matches a filter: what can be replayed is, the rest is counted by reason.
pub fn judge_matching(found: &[Candidate], topics: &HashSet<String>) -> Plan {
    let mut plan = Plan::default();
    for candidate in found {
        let reason = match judge(candidate, topics) {
            Judgement::Replay => {
                plan.ids.push(candidate.id);
                continue;
            }
            Judgement::Impossible(reason) => reason,
            Judgement::NoTopic(topic) => Refusal::NoTopic { topic }.to_string(),
        };
        *plan.skipped.entry(reason).or_default() += 1;
    }
    plan
}

enum Judgement {
    Replay,
    Impossible(String),
    NoTopic(String),
}

fn judge(candidate: &Candidate, topics: &HashSet<String>) -> Judgement {
    match (&candidate.unreplayable, &candidate.replay_topic) {
        (None, Some(topic)) if topics.contains(topic) => Judgement::Replay,
        // A replay to a topic that is not there would block the relay behind it.
        (None, Some(topic)) => Judgement::NoTopic(topic.clone()),
        (reason, _) => {
            let code = reason.as_deref().unwrap_or_default();
            Judgement::Impossible(super::letter::Unreplayable::explain(code).to_owned())
        }
    }
}

/// Enough ids to go on with, however many there are.
fn list(ids: &[i64]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<String> = ids.iter().take(SHOWN).map(i64::to_string).collect();
    match ids.len().checked_sub(SHOWN) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: i64) -> Candidate {
        Candidate {
            id,
            replayed: false,
            replay_topic: Some("t.g.replay".into()),
            unreplayable: None,
        }
    }

    fn topics() -> HashSet<String> {
        HashSet::from(["t.g.replay".to_owned()])
    }

    #[test]
    fn a_choice_by_ids_is_all_or_nothing() {
        let found = [
            candidate(1),
            Candidate {
                replayed: true,
                ..candidate(2)
            },
        ];
        assert_eq!(
            judge_ids(&[1, 2, 3], &found, true, &topics()),
            Err(Refusal::Unknown { ids: vec![3] })
        );
        assert_eq!(
            judge_ids(&[1, 2], &found, false, &topics()),
            Err(Refusal::AlreadyReplayed { ids: vec![2] })
        );
        assert_eq!(judge_ids(&[1, 2], &found, true, &topics()), Ok(vec![1, 2]));
    }

    #[test]
    fn a_replay_nobody_would_read_is_refused() {
        let refused = judge_ids(&[1], &[candidate(1)], false, &HashSet::new());
        assert_eq!(
            refused,
            Err(Refusal::NoTopic {
                topic: "t.g.replay".into()
            })
        );
    }

    #[test]
    fn all_that_match_leaves_out_what_cannot_go() {
        let stuck = Candidate {
            replay_topic: None,
            unreplayable: Some("no_source".into()),
            ..candidate(2)
        };
        let plan = judge_matching(&[candidate(1), stuck, candidate(3)], &topics());
        assert_eq!(plan.ids, [1, 3]);
        assert_eq!(plan.skipped.values().sum::<u64>(), 1);
    }

    #[test]
    fn long_lists_are_cut() {
        let text = Refusal::Unknown {
            ids: (1..=25).collect(),
        }
        .to_string();
        assert!(text.ends_with("10 and 15 more"), "{text}");
    }
}
