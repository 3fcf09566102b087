//! Model check: the saga beside abstract inventory and payment services, through every interleaving.
//!
//! The services keep their promises (commands of an order arrive in order, a ledger repeats its answer,
//! a release is final) and nothing else is assumed: answers come late, doubled and in any order; a
//! command may be dead-lettered and replayed at any later time, or delivered again; the customer may
//! cancel and the clock may run out at any moment; reservations expire and captures are refused.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::*;

/// What a service's ledger says of the order: its stock, or its money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Ledger {
    Nothing,
    Refused,
    Held,
    Final,
    GivenBack { after_final: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Ask {
    Reserve,
    Commit,
    Release,
    Authorize,
    Capture,
    Void,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Answer {
    Reserved,
    Rejected,
    Committed,
    Released,
    Authorized,
    Declined,
    Captured,
    Voided,
    Refunded,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    saga: Saga,
    stock: Ledger,
    money: Ledger,
    stock_queue: Vec<Ask>,
    money_queue: Vec<Ask>,
    /// Dead-lettered and not replayed yet.
    dead: BTreeSet<Ask>,
    /// Handled once; may be delivered again.
    handled: BTreeSet<Ask>,
    /// Every answer ever given; each may arrive any number of times.
    answers: BTreeSet<Answer>,
    issued: BTreeSet<Ask>,
    confirmed: bool,
    cancelled: bool,
}

fn ask(command: &Command) -> Ask {
    match command {
        Command::ReserveStock => Ask::Reserve,
        Command::CommitStock => Ask::Commit,
        Command::ReleaseStock { .. } => Ask::Release,
        Command::AuthorizePayment => Ask::Authorize,
        Command::CapturePayment => Ask::Capture,
        Command::VoidPayment { .. } => Ask::Void,
    }
}

fn event(answer: Answer) -> SagaEvent {
    match answer {
        Answer::Reserved => SagaEvent::StockReserved,
        Answer::Rejected => SagaEvent::StockRejected(Vec::new()),
        Answer::Committed => SagaEvent::StockCommitted,
        Answer::Released => SagaEvent::StockReleased,
        Answer::Authorized => SagaEvent::PaymentAuthorized,
        Answer::Declined => SagaEvent::PaymentDeclined {
            code: String::new(),
            reason: String::new(),
        },
        Answer::Captured => SagaEvent::PaymentCaptured,
        Answer::Voided => SagaEvent::PaymentVoided { refunded: false },
        Answer::Refunded => SagaEvent::PaymentVoided { refunded: true },
    }
}

const fn is_stock(ask: Ask) -> bool {
    matches!(ask, Ask::Reserve | Ask::Commit | Ask::Release)
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            saga: Saga::Reserving,
            stock: Ledger::Nothing,
            money: Ledger::Nothing,
            stock_queue: Vec::new(),
            money_queue: Vec::new(),
            dead: BTreeSet::new(),
            handled: BTreeSet::new(),
            answers: BTreeSet::new(),
            issued: BTreeSet::new(),
            confirmed: false,
            cancelled: false,
        };
        world.apply(start());
        world
    }

    /// The order service handles an event; checks what must hold of every transition.
    fn hear(&self, event: &SagaEvent) -> Option<Self> {
        let transition = self.saga.on(event)?;
        assert!(
            !self.saga.settled() || self.saga == Saga::Paid,
            "a settled order moved: {self:?} on {event:?}"
        );
        assert_eq!(
            transition.saga.on(event),
            None,
            "a repeat of {event:?} changed {:?}",
            transition.saga
        );
        let mut next = self.clone();
        next.apply(transition);
        Some(next)
    }

    fn apply(&mut self, transition: Transition) {
        for command in &transition.commands {
            let ask = ask(command);
            assert!(self.issued.insert(ask), "{ask:?} issued twice: {self:?}");
            let undo = matches!(ask, Ask::Release | Ask::Void);
            let off = transition.saga.status() == Status::Cancelled;
            assert_eq!(undo, off, "{ask:?} contradicts {:?}", transition.saga);
            let queue = if is_stock(ask) {
                &mut self.stock_queue
            } else {
                &mut self.money_queue
            };
            queue.push(ask);
        }
        match transition.outcome {
            Some(Outcome::Confirmed) => {
                assert!(
                    !self.confirmed && !self.cancelled,
                    "confirmed out of turn: {self:?}"
                );
                self.confirmed = true;
            }
            Some(Outcome::Cancelled(_)) => {
                assert!(!self.cancelled, "cancelled twice: {self:?}");
                self.cancelled = true;
            }
            None => {}
        }
        self.saga = transition.saga;
    }

    /// Every way in which a service may handle a command, with its ledger's promise kept.
    fn handle(&self, ask: Ask) -> Vec<Self> {
        let ledger = if is_stock(ask) {
            self.stock
        } else {
            self.money
        };
        let mut ways = Vec::new();
        let mut way = |ledger: Ledger| {
            let mut next = self.clone();
            let answer = if is_stock(ask) {
                next.stock = ledger;
                match ledger {
                    Ledger::Nothing => None,
                    Ledger::Refused => Some(Answer::Rejected),
                    Ledger::Held => Some(Answer::Reserved),
                    Ledger::Final => Some(Answer::Committed),
                    Ledger::GivenBack { .. } => Some(Answer::Released),
                }
            } else {
                next.money = ledger;
                match ledger {
                    Ledger::Nothing => None,
                    Ledger::Refused => Some(Answer::Declined),
                    Ledger::Held => Some(Answer::Authorized),
                    Ledger::Final => Some(Answer::Captured),
                    Ledger::GivenBack { after_final: false } => Some(Answer::Voided),
                    Ledger::GivenBack { after_final: true } => Some(Answer::Refunded),
                }
            };
            next.answers.extend(answer);
            next.handled.insert(ask);
            ways.push(next);
        };
        match (ask, ledger) {
            (Ask::Reserve | Ask::Authorize, Ledger::Nothing) => {
                way(Ledger::Held);
                way(Ledger::Refused);
            }
            (Ask::Commit, Ledger::Held) => way(Ledger::Final),
            (Ask::Capture, Ledger::Held) => {
                way(Ledger::Final);
                way(Ledger::Refused);
            }
            (Ask::Release | Ask::Void, Ledger::Nothing | Ledger::Held) => {
                way(Ledger::GivenBack { after_final: false });
            }
            // Nothing is held after a refusal; a service may say so in either way.
            (Ask::Release | Ask::Void, Ledger::Refused) => {
                way(Ledger::Refused);
                way(Ledger::GivenBack { after_final: false });
            }
            (Ask::Release | Ask::Void, Ledger::Final) => {
                way(Ledger::GivenBack { after_final: true })
            }
            (_, stored) => way(stored),
        }
        ways
    }

    fn next(&self) -> Vec<Self> {
        let mut all: Vec<Self> = self
            .answers
            .iter()
            .filter_map(|answer| self.hear(&event(*answer)))
            .collect();
        all.extend(self.hear(&SagaEvent::TimedOut));
        all.extend(self.hear(&SagaEvent::CancelRequested {
            reason: String::new(),
        }));
        for stock in [true, false] {
            let mut rest = self.clone();
            let queue = if stock {
                &mut rest.stock_queue
            } else {
                &mut rest.money_queue
            };
            if !queue.is_empty() {
                let head = queue.remove(0);
                all.extend(rest.handle(head));
                rest.dead.insert(head);
                all.push(rest);
            }
        }
        for ask in &self.dead {
            let mut rest = self.clone();
            rest.dead.remove(ask);
            all.extend(rest.handle(*ask));
        }
        for ask in &self.handled {
            all.extend(self.handle(*ask));
        }
        if self.stock == Ledger::Held {
            let mut expired = self.clone();
            expired.stock = Ledger::GivenBack { after_final: false };
            expired.answers.insert(Answer::Released);
            all.push(expired);
        }
        if self.money == Ledger::Held {
            let mut dropped = self.clone();
            dropped.money = Ledger::GivenBack { after_final: false };
            dropped.answers.insert(Answer::Voided);
            all.push(dropped);
        }
        all.retain(|next| next != self);
        all
    }

    /// What must hold at every moment.
    fn check(&self) {
        let held = |ledger| matches!(ledger, Ledger::Held | Ledger::Final);
        if self.saga == Saga::Paid {
            assert_eq!(
                (self.stock, self.money),
                (Ledger::Final, Ledger::Final),
                "{self:?}"
            );
        }
        if self.saga.status() == Status::Cancelled && self.saga.settled() {
            assert!(
                !held(self.stock) && !held(self.money),
                "something is kept: {self:?}"
            );
        }
        assert_eq!(
            self.cancelled,
            self.saga.status() == Status::Cancelled,
            "{self:?}"
        );
        assert_eq!(
            self.confirmed && !self.cancelled,
            self.saga == Saga::Paid,
            "{self:?}"
        );
        let quiet = self.stock_queue.is_empty()
            && self.money_queue.is_empty()
            && self.dead.is_empty()
            && self
                .answers
                .iter()
                .all(|answer| self.saga.on(&event(*answer)).is_none());
        assert!(
            !quiet || self.saga.settled(),
            "nothing more will come, and it is not settled: {self:?}"
        );
    }
}

#[test]
fn every_interleaving_ends_right() {
    let first = World::new();
    let mut index = HashMap::from([(first.clone(), 0_usize)]);
    let mut worlds = vec![first];
    let mut before: Vec<Vec<usize>> = vec![Vec::new()];
    let mut at = 0;
    while at < worlds.len() {
        worlds[at].check();
        for next in worlds[at].next() {
            let to = *index.entry(next.clone()).or_insert_with(|| {
                worlds.push(next);
                before.push(Vec::new());
                worlds.len() - 1
            });
            before[to].push(at);
        }
        at += 1;
    }
    // From everywhere a settled state can be reached: walk back from all of them.
    let mut ends: VecDeque<usize> = (0..worlds.len())
        .filter(|at| worlds[*at].saga.settled())
        .collect();
    let mut reaches = vec![false; worlds.len()];
    while let Some(at) = ends.pop_front() {
        if !std::mem::replace(&mut reaches[at], true) {
            ends.extend(&before[at]);
        }
    }
    let stuck = reaches.iter().position(|reached| !reached);
    assert_eq!(stuck.map(|at| &worlds[at]), None, "no way to an end");
    let met = |wanted: fn(&World) -> bool| worlds.iter().any(wanted);
    assert!(
        met(|world| world.saga == Saga::Paid),
        "no order is ever paid"
    );
    assert!(
        met(|world| world.saga.payment() == PaymentLeg::Refunded),
        "no order is ever refunded"
    );
    assert!(
        worlds.len() > 1_000,
        "the model shrank to {} states",
        worlds.len()
    );
}
