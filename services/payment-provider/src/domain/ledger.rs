//! The ledger: every authorisation, every idempotency key, every call.
//!
//! It is lenient where a strict provider would hide a caller's mistake: an authorisation may be captured again under
//! another key, as with providers that allow several captures. So a caller that captures twice is seen in the counts.
//! It keeps everything: a tool for tests and demonstrations, emptied by removing its file.

use std::collections::HashMap;

use super::authorization::{Authorization, State};
use super::counts::{Effect, Tally};
use super::entry::{Answer, Decline, Entry, Work};
use super::token::Script;

#[derive(Debug, Default)]
pub struct Ledger {
    authorizations: HashMap<String, Authorization>,
    tries: HashMap<String, Tries>,
    orders: HashMap<String, Order>,
    totals: Tally,
    /// Every entry that had an effect.
    history: Vec<Entry>,
}

/// What became of the calls with one idempotency key.
#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    calls: u32,
    failed: u32,
    /// Position of the effect in `history`.
    effect: Option<usize>,
}

#[derive(Debug, Default)]
struct Order {
    tally: Tally,
    /// Positions of its effects in `history`.
    effects: Vec<usize>,
}

/// Why a call does nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key belongs to another request.
    KeyReused,
    NoSuchAuthorization,
    /// The authorisation's state forbids it.
    Conflict(State),
}

impl Ledger {
    /// What a call would come to. `id` becomes the effect's name if there is one.
    pub fn decide(&self, key: &str, work: &Work, id: String) -> Result<Answer, Refusal> {
        if let Some(entry) = self.effect(key) {
            return if entry.work == *work {
                Ok(Answer::Repeated)
            } else {
                Err(Refusal::KeyReused)
            };
        }
        let script = self.script(work)?;
        if self.tries(key).failed < script.failures() {
            return Ok(Answer::Failed);
        }
        let Some(authorization_id) = work.authorization_id() else {
            return Ok(Answer::Done {
                id,
                declined: decline(&script),
            });
        };
        let state = self
            .authorizations
            .get(authorization_id)
            .ok_or(Refusal::NoSuchAuthorization)?
            .state;
        if state.permits(work.operation()) {
            Ok(Answer::Done { id, declined: None })
        } else {
            Err(Refusal::Conflict(state))
        }
    }

    /// The script that governs this work: that of the token it carries, or of the authorisation it is about.
    pub fn script(&self, work: &Work) -> Result<Script, Refusal> {
        match work {
            Work::Authorize { token, .. } => Ok(Script::parse(token)),
            Work::Capture { authorization_id }
            | Work::Void { authorization_id }
            | Work::Refund { authorization_id } => self
                .authorizations
                .get(authorization_id)
                .map(|known| known.script.clone())
                .ok_or(Refusal::NoSuchAuthorization),
        }
    }

    /// Records a call. An entry read back from the file is applied as it was written: nothing is decided again.
    /// An entry about an authorisation that the ledger does not know changes nothing.
    pub fn apply(&mut self, entry: Entry) {
        let tries = self.tries.entry(entry.key.clone()).or_default();
        tries.calls += 1;
        tries.failed += u32::from(entry.answer == Answer::Failed);

        let Some((reference, effect)) = change(&mut self.authorizations, &entry) else {
            return;
        };
        let operation = entry.work.operation();
        let order = self.orders.entry(reference).or_default();
        for tally in [&mut order.tally, &mut self.totals] {
            tally.calls.count(operation);
            if let Some(effect) = effect {
                tally.add(effect);
            }
        }
        if effect.is_some() {
            let position = self.history.len();
            order.effects.push(position);
            tries.effect = Some(position);
            self.history.push(entry);
        }
    }

    /// The effect that a key had, if it had one.
    pub fn effect(&self, key: &str) -> Option<&Entry> {
        self.tries(key)
            .effect
            .and_then(|position| self.history.get(position))
    }

    /// How often a key was called.
    pub fn calls(&self, key: &str) -> u32 {
        self.tries(key).calls
    }

    fn tries(&self, key: &str) -> Tries {
        self.tries.get(key).copied().unwrap_or_default()
    }

    /// The authorisation that an effect made or changed, with its id.
    pub fn authorization(&self, entry: &Entry) -> Option<(&str, &Authorization)> {
        let id = match (&entry.answer, entry.work.authorization_id()) {
            (_, Some(id)) => id,
            (Answer::Done { id, .. }, None) => id,
            _ => return None,
        };
        self.authorizations
            .get_key_value(id)
            .map(|(id, authorization)| (id.as_str(), authorization))
    }

    /// What happened to one order, oldest first. An order that nobody asked for has an empty tally.
    pub fn order(&self, reference: &str) -> (Tally, Vec<&Entry>) {
        let Some(order) = self.orders.get(reference) else {
            return (Tally::default(), Vec::new());
        };
        (
            order.tally,
            order
                .effects
                .iter()
                .filter_map(|position| self.history.get(*position))
                .collect(),
        )
    }

    /// All orders together.
    pub fn totals(&self) -> Tally {
        self.totals
    }

    /// Orders for which an operation had its effect more than once: what must never be.
    pub fn doubled(&self) -> Vec<&str> {
        self.orders
            .iter()
            .filter(|(_, order)| order.tally.effects.highest() > 1)
            .map(|(name, _)| name.as_str())
            .collect()
    }
}

/// The order that an entry is about, and its effect on the authorisation, which is made here.
fn change(
    authorizations: &mut HashMap<String, Authorization>,
    entry: &Entry,
) -> Option<(String, Option<Effect>)> {
    let operation = entry.work.operation();
    if let Work::Authorize {
        amount_minor,
        currency,
        token,
        reference,
        ..
    } = &entry.work
    {
        let Answer::Done { id, declined } = &entry.answer else {
            return Some((reference.clone(), None));
        };
        let declined = declined.is_some();
        let authorization = Authorization {
            reference: reference.clone(),
            amount: *amount_minor,
            currency: currency.clone(),
            script: Script::parse(token),
            state: if declined {
                State::Declined
            } else {
                State::Authorized
            },
        };
        authorizations.insert(id.clone(), authorization);
        return Some((
            reference.clone(),
            Some(Effect {
                operation,
                declined,
                amount: *amount_minor,
                before: None,
            }),
        ));
    }
    let authorization = authorizations.get_mut(entry.work.authorization_id()?)?;
    let effect = matches!(entry.answer, Answer::Done { .. }).then(|| {
        let before = std::mem::replace(&mut authorization.state, State::after(operation));
        Effect {
            operation,
            declined: false,
            amount: authorization.amount,
            before: Some(before),
        }
    });
    Some((authorization.reference.clone(), effect))
}

fn decline(script: &Script) -> Option<Decline> {
    let (code, reason) = match script {
        Script::Decline => ("card_declined", "the issuer declined the payment"),
        Script::Unknown => (
            "token_unknown",
            "this provider did not issue the payment token; test tokens start with tok_",
        ),
        _ => return None,
    };
    Some(Decline {
        code: code.to_owned(),
        reason: reason.to_owned(),
    })
}

#[cfg(test)]
mod tests;
