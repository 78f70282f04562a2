//! Against the collections of the standard library.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::chunks::WIDEST;
use super::{OrderedMap, OrderedSet};

/// A step of a test.
#[derive(Clone, Debug)]
enum Step {
    Insert(u16, u32),
    Add(u16),
    Change(u16),
    Remove(u16),
    Retain(u16),
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0u16..900;
    let step = prop_oneof![
        400 => (key(), any::<u32>()).prop_map(|(key, value)| Step::Insert(key, value)),
        200 => key().prop_map(Step::Add),
        50 => key().prop_map(Step::Change),
        400 => key().prop_map(Step::Remove),
        4 => (2u16..9).prop_map(Step::Retain),
        1 => Just(Step::Clear),
    ];
    proptest::collection::vec(step, 0..2500)
}

proptest! {
    #[test]
    fn a_map_is_a_map_in_order(steps in steps()) {
        let (mut map, mut model) = (OrderedMap::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Insert(key, value) => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                Step::Add(key) => {
                    *map.entry(key).or_default() /= 2;
                    *model.entry(key).or_default() /= 2;
                }
                Step::Change(key) => {
                    prop_assert_eq!(map.get_mut(&key).map(std::mem::take), model.get_mut(&key).map(std::mem::take));
                }
                Step::Remove(key) => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                Step::Retain(part) => {
                    map.retain(|key, value| { *value /= 3; key % part != 0 });
                    model.retain(|key, value| { *value /= 3; key % part != 0 });
                }
                Step::Clear => {
                    map.clear();
                    model.clear();
                }
            }
            prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
        }
        prop_assert!(map.iter().eq(&model) && map.iter().rev().eq(model.iter().rev()));
        prop_assert!(map.iter_mut().eq(model.iter_mut()) && map.values_mut().eq(model.values_mut()));
        prop_assert!(map.keys().eq(model.keys()) && map.values().eq(model.values()));
        prop_assert_eq!(map.last_key_value(), model.last_key_value());
        for key in 0..900 {
            prop_assert_eq!(map.get(&key), model.get(&key));
            prop_assert_eq!(map.contains_key(&key), model.contains_key(&key));
        }
        for (first, last) in [(0, 900), (3, 5), (100, 700), (450, 450)] {
            prop_assert!(map.range(first..last).eq(model.range(first..last)));
            prop_assert!(map.range(first..=last).rev().eq(model.range(first..=last).rev()));
            prop_assert!(map.range(..last).rev().eq(model.range(..last).rev()));
            prop_assert!(map.range(first..).eq(model.range(first..)));
        }
        prop_assert_eq!(format!("{map:?}"), format!("{model:?}"));
        let again: OrderedMap<_, _> = model.iter().rev().map(|(key, value)| (*key, *value)).collect();
        prop_assert_eq!(&again, &map, "of other chunks");
        prop_assert!(map.clone().into_values().eq(model.clone().into_values()));
        prop_assert!(map.into_iter().eq(model));
    }

    #[test]
    fn a_set_is_a_set_in_order(steps in steps()) {
        let (mut set, mut model) = (OrderedSet::new(), BTreeSet::new());
        for step in steps {
            match step {
                Step::Insert(key, _) | Step::Add(key) => prop_assert_eq!(set.insert(key), model.insert(key)),
                Step::Change(_) => prop_assert_eq!(set.pop_first(), model.pop_first()),
                Step::Remove(key) => {
                    prop_assert_eq!(set.remove(&key), model.remove(&key));
                }
                Step::Retain(part) => {
                    set.retain(|key| key % part != 0);
                    model.retain(|key| key % part != 0);
                }
                Step::Clear => {}
            }
            prop_assert_eq!((set.len(), set.is_empty(), set.first()), (model.len(), model.is_empty(), model.first()));
        }
        prop_assert!(set.iter().eq(&model) && set.range(100..=500).eq(model.range(100..=500)));
        prop_assert_eq!(format!("{set:?}"), format!("{model:?}"));
        prop_assert!(set.into_iter().eq(model));
    }
}

#[test]
fn keys_in_order_fill_their_chunks() {
    let full = (0..10 * WIDEST).collect::<OrderedSet<_>>();
    assert_eq!(full.items().chunk_count(), 10);
}

#[test]
fn chunks_that_have_become_small_are_joined() {
    let all = || 0..100 * WIDEST;
    let check = |removed: &mut dyn Iterator<Item = usize>| {
        let mut set = all().collect::<OrderedSet<_>>();
        removed.filter(|value| value % WIDEST != 0).for_each(|value| assert!(set.remove(&value)));
        assert!(set.iter().copied().eq(all().step_by(WIDEST)));
        let chunks = set.items().chunk_count();
        assert!(chunks <= 8, "{chunks} chunks");
    };
    check(&mut all());
    check(&mut all().rev());
}

#[test]
#[should_panic(expected = "an entry of this key")]
fn the_value_of_a_key_that_is_not_there_cannot_be_named() {
    let map = OrderedMap::from([(1, 'a')]);
    assert_eq!(map[&1], 'a');
    let _ = map[&2];
}
