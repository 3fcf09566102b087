//! The fold against its promises: by example, and by whatever order of commands chance brings.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn order(n: u128) -> OrderId {
    OrderId(Uuid::from_u128(n))
}

fn product(name: &str) -> Product {
    Product::parse(name).unwrap()
}

fn stocked(levels: &[(&str, i64)]) -> Warehouse {
    Warehouse::new(
        levels
            .iter()
            .map(|(name, on_hand)| (product(name), Level::new(*on_hand, 0).unwrap())),
        [],
    )
}

fn reserve(n: u128, lines: &[(&str, i64)]) -> Command {
    Command::Reserve {
        order: order(n),
        lines: Lines::parse(lines.iter().copied()).unwrap(),
    }
}

fn commit(n: u128) -> Command {
    Command::Commit { order: order(n) }
}

fn release(n: u128) -> Command {
    Command::Release { order: order(n) }
}

fn level(warehouse: &Warehouse, name: &str) -> (i64, i64) {
    let level = warehouse.levels[&product(name)];
    (level.on_hand(), level.reserved())
}

#[test]
fn all_lines_are_held_or_none() {
    let mut warehouse = stocked(&[("tea", 5), ("mug", 1)]);
    let answer = warehouse.apply(&reserve(1, &[("tea", 2), ("mug", 2), ("unheard-of", 1)]));
    let shortages = vec![
        Shortage {
            product: product("mug"),
            wanted: 2,
            available: 1,
        },
        Shortage {
            product: product("unheard-of"),
            wanted: 1,
            available: 0,
        },
    ];
    assert_eq!(answer, Ok(Answer::Rejected(shortages.clone())));
    assert_eq!(level(&warehouse, "tea"), (5, 0));
    // Stock that comes later does not change what the order was told.
    assert_eq!(warehouse.apply(&commit(1)), Ok(Answer::Rejected(shortages)));
    let changes = warehouse.into_changes();
    assert_eq!(changes.levels, []);
    assert_eq!(changes.opened.len(), 1);
    assert_eq!(changes.moved, []);
}

#[test]
fn a_reservation_is_held_then_leaves_the_warehouse() {
    let mut warehouse = stocked(&[("tea", 5)]);
    assert_eq!(
        warehouse.apply(&reserve(1, &[("tea", 3)])),
        Ok(Answer::Reserved)
    );
    assert_eq!(level(&warehouse, "tea"), (5, 3));
    assert_eq!(warehouse.apply(&commit(1)), Ok(Answer::Committed));
    assert_eq!(level(&warehouse, "tea"), (2, 0));
    assert_eq!(
        warehouse.apply(&reserve(1, &[("tea", 3)])),
        Ok(Answer::Reserved)
    );
    assert_eq!(level(&warehouse, "tea"), (2, 0));
}

#[test]
fn a_release_gives_back_what_is_held_and_restocks_what_had_left() {
    for committed in [false, true] {
        let mut warehouse = stocked(&[("tea", 5)]);
        warehouse.apply(&reserve(1, &[("tea", 3)])).unwrap();
        if committed {
            warehouse.apply(&commit(1)).unwrap();
        }
        assert_eq!(warehouse.apply(&release(1)), Ok(Answer::Released));
        assert_eq!(level(&warehouse, "tea"), (5, 0), "committed: {committed}");
        assert_eq!(warehouse.apply(&release(1)), Ok(Answer::Released));
        assert_eq!(warehouse.apply(&commit(1)), Ok(Answer::Released));
        assert_eq!(level(&warehouse, "tea"), (5, 0));
    }
}

#[test]
fn a_release_before_the_reserve_shuts_the_door() {
    let mut warehouse = stocked(&[("tea", 5)]);
    assert_eq!(warehouse.apply(&release(1)), Ok(Answer::Released));
    assert_eq!(
        warehouse.apply(&reserve(1, &[("tea", 3)])),
        Ok(Answer::Released)
    );
    assert_eq!(level(&warehouse, "tea"), (5, 0));
    let changes = warehouse.into_changes();
    let tombstone = Reservation {
        lines: vec![],
        state: State::Released,
    };
    assert_eq!(changes.opened, [(order(1), tombstone)]);
}

#[test]
fn nothing_is_committed_that_was_never_reserved() {
    let mut warehouse = stocked(&[("tea", 5)]);
    assert_eq!(
        warehouse.apply(&commit(1)),
        Err(Refusal::NothingReserved(order(1)))
    );
    assert_eq!(warehouse.into_changes(), Changes::default());
}

#[test]
fn a_ledger_that_disagrees_with_the_stock_is_reported_not_papered_over() {
    let held = Reservation {
        lines: vec![(product("mug"), 1), (product("tea"), 3)],
        state: State::Reserved,
    };
    let levels = [
        (product("mug"), Level::new(4, 1).unwrap()),
        (product("tea"), Level::new(5, 2).unwrap()),
    ];
    let mut warehouse = Warehouse::new(levels, [(order(1), held)]);
    let refusal = warehouse.apply(&commit(1)).unwrap_err();
    assert!(
        matches!(refusal, Refusal::LedgerMismatch { units: 3, .. }),
        "{refusal:?}"
    );
    assert_eq!(
        level(&warehouse, "mug"),
        (4, 1),
        "no line moves when one cannot"
    );
}

#[test]
fn an_order_that_comes_and_goes_in_one_batch_is_written_once() {
    let mut warehouse = stocked(&[("tea", 5)]);
    warehouse.apply(&reserve(1, &[("tea", 3)])).unwrap();
    warehouse.apply(&release(1)).unwrap();
    let changes = warehouse.into_changes();
    assert_eq!(changes.opened.len(), 1);
    assert_eq!(changes.opened[0].1.state, State::Released);
    assert_eq!(changes.moved, []);
}

const PRODUCTS: [&str; 3] = ["mug", "tea", "pot"];

fn any_command() -> impl Strategy<Value = Command> {
    (0..6_u128, 0..3_u8).prop_map(|(n, kind)| match kind {
        0 => {
            // An order's lines never change: here they are a function of its number.
            let a = PRODUCTS[(n % 3) as usize];
            let b = PRODUCTS[((n + 1) % 3) as usize];
            reserve(n, &[(a, 1 + n as i64), (b, 2)])
        }
        1 => commit(n),
        _ => release(n),
    })
}

/// Per product: what the open reservations hold, and what has left.
fn held_and_gone(warehouse: &Warehouse, name: &str) -> (i64, i64) {
    let sum = |wanted: State| -> i64 {
        let of_state = warehouse
            .reservations
            .values()
            .filter(|r| r.state == wanted);
        let lines = of_state.flat_map(|r| &r.lines);
        lines
            .filter(|(p, _)| p.as_str() == name)
            .map(|(_, units)| units)
            .sum()
    };
    (sum(State::Reserved), sum(State::Committed))
}

proptest! {
    /// Whatever comes, in whatever order: stock is never negative, `reserved` is what the open
    /// reservations hold, and no unit appears or is lost.
    #[test]
    fn units_are_conserved(
        stock in prop::collection::vec(0..12_i64, 3),
        commands in prop::collection::vec(any_command(), 0..60),
    ) {
        let levels: Vec<_> = PRODUCTS.into_iter().zip(stock.iter().copied()).collect();
        let mut warehouse = stocked(&levels);
        for command in &commands {
            let answer = warehouse.apply(command);
            if let Err(refusal) = &answer {
                prop_assert!(matches!(refusal, Refusal::NothingReserved(_)), "{}", refusal);
            }
            for (name, at_first) in &levels {
                let (on_hand, reserved) = level(&warehouse, name);
                let (held, gone) = held_and_gone(&warehouse, name);
                prop_assert!(0 <= reserved && reserved <= on_hand);
                prop_assert_eq!(reserved, held);
                prop_assert_eq!(on_hand + gone, *at_first);
            }
        }
    }

    /// A command that comes twice in a row gets the same answer and changes nothing more, and so
    /// does the whole batch delivered in two halves with a reload between them.
    #[test]
    fn repeats_are_idempotent(
        stock in prop::collection::vec(0..12_i64, 3),
        commands in prop::collection::vec(any_command(), 0..40),
        cut in 0..40_usize,
    ) {
        let levels: Vec<_> = PRODUCTS.into_iter().zip(stock.iter().copied()).collect();
        let mut once = stocked(&levels);
        let mut twice = stocked(&levels);
        for (n, command) in commands.iter().enumerate() {
            let answer = once.apply(command);
            prop_assert_eq!(&twice.apply(command), &answer);
            if n == cut {
                twice = Warehouse::new(twice.levels, twice.reservations);
            }
            prop_assert_eq!(&twice.apply(command), &answer);
        }
        prop_assert_eq!(once.levels, twice.levels);
        prop_assert_eq!(once.reservations, twice.reservations);
    }
}
