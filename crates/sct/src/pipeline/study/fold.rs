//! Which cases are trained on, choose the best epoch, and are held out.

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use super::StudySplit;
use crate::pipeline::PipelineError;

/// A case of a study.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StudyCase {
    /// Its name in the study.
    pub id: String,
    /// Its folder's name in the cohort.
    pub subject: String,
    /// Its cohort's group.
    pub group: String,
    /// Which cohort it is in.
    pub cohort: usize,
}

/// One division of the cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Its name in folders.
    pub name: String,
    /// The cases to learn from.
    pub train: Vec<String>,
    /// The cases to choose the best epoch by.
    pub validation: Vec<String>,
    /// The cases held out.
    pub test: Vec<String>,
}

/// The folds of a split; each list is ordered by name.
///
/// Draws depend on the seed and the cases' names, not on their order.
///
/// # Errors
/// [`PipelineError::Study`] for names that no case has or that are in two lists, too few cases or groups.
pub fn folds(split: &StudySplit, cases: &[StudyCase]) -> Result<Vec<Fold>, PipelineError> {
    let mut ids: Vec<String> = cases.iter().map(|case| case.id.clone()).collect();
    ids.sort();
    let wrong = |problem: String| Err(PipelineError::Study { problems: vec![problem] });
    let shuffled = |seed: u64, ids: &[String]| {
        let mut ids = ids.to_vec();
        ids.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        ids
    };
    let folds: Vec<Fold> = match split {
        StudySplit::Named { validation, test } => {
            let named: Vec<&String> = validation.iter().chain(test).collect();
            if let Some(id) = named.iter().find(|id| !ids.contains(id)) {
                return wrong(format!("no cohort holds a case `{id}`"));
            }
            if let Some(id) = named.iter().find(|id| named.iter().filter(|other| other == id).count() > 1) {
                return wrong(format!("the split names `{id}` twice"));
            }
            vec![Fold::new("held-out", &ids, validation.clone(), test.clone())]
        }
        StudySplit::Drawn { n_validation, n_test, seed } => {
            let drawn = shuffled(*seed, &ids);
            let n_drawn = n_validation + n_test;
            if n_drawn >= ids.len() {
                return wrong(format!("{} case(s) leave none to train on after {n_drawn} drawn", ids.len()));
            }
            let (test, rest) = drawn.split_at(*n_test);
            vec![Fold::new("held-out", &ids, rest[..*n_validation].to_vec(), test.to_vec())]
        }
        StudySplit::KFold { k, n_validation, seed } => {
            if *k < 2 || *k > ids.len() {
                return wrong(format!(
                    "`k` is {k}, but must be from 2 to the number of cases, {}",
                    ids.len()
                ));
            }
            let drawn = shuffled(*seed, &ids);
            let cut = |fold: usize| ids.len() * fold / k;
            let fold = |n: usize| {
                let test = drawn[cut(n)..cut(n + 1)].to_vec();
                // What follows the held-out cases in the circle, so that every case has its turn.
                let others: Vec<_> =
                    drawn[cut(n + 1)..].iter().chain(&drawn[..cut(n)]).take(*n_validation).cloned().collect();
                Fold::new(&format!("fold-{}", n + 1), &ids, others, test)
            };
            (0..*k).map(fold).collect()
        }
        StudySplit::LeaveOneGroupOut { n_validation, seed } => {
            let mut groups: Vec<&String> = cases.iter().map(|case| &case.group).collect();
            groups.sort();
            groups.dedup();
            if groups.len() < 2 {
                return wrong("leave-one-group-out needs cohorts of two groups or more".to_owned());
            }
            let of = |group: &String, is_of: bool| -> Vec<String> {
                let mut ids: Vec<_> = cases
                    .iter()
                    .filter(|case| (case.group == *group) == is_of)
                    .map(|case| case.id.clone())
                    .collect();
                ids.sort();
                ids
            };
            let fold = |group: &String| {
                let others = shuffled(*seed, &of(group, false));
                let validation = others.into_iter().take(*n_validation).collect();
                Fold::new(&format!("without-{group}"), &ids, validation, of(group, true))
            };
            groups.into_iter().map(fold).collect()
        }
    };
    let mut problems = Vec::new();
    for fold in &folds {
        for (list, name) in [(&fold.train, "train on"), (&fold.test, "hold out")] {
            if list.is_empty() {
                problems.push(format!("{} leaves no case to {name}", fold.name));
            }
        }
    }
    if problems.is_empty() { Ok(folds) } else { Err(PipelineError::Study { problems }) }
}

impl Fold {
    /// The rest is trained on.
    fn new(name: &str, ids: &[String], mut validation: Vec<String>, mut test: Vec<String>) -> Self {
        validation.sort();
        test.sort();
        let is_left = |id: &&String| !validation.contains(id) && !test.contains(id);
        let train = ids.iter().filter(is_left).cloned().collect();
        Self { name: name.to_owned(), train, validation, test }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eleven cases in three groups.
    fn cases() -> Vec<StudyCase> {
        let case = |n: usize| StudyCase {
            id: format!("p{n:02}"),
            subject: format!("p{n:02}"),
            group: ["a", "b", "c"][n % 3].to_owned(),
            cohort: n % 3,
        };
        (0..11).map(case).collect()
    }

    #[track_caller]
    fn check_partition(fold: &Fold) {
        let mut all = [fold.train.clone(), fold.validation.clone(), fold.test.clone()].concat();
        all.sort();
        let expected: Vec<_> = cases().into_iter().map(|case| case.id).collect();
        assert_eq!(all, expected, "{}", fold.name);
    }

    #[test]
    fn k_folds_hold_every_case_out_once() -> Result<(), PipelineError> {
        let split = StudySplit::KFold { k: 4, n_validation: 2, seed: 3 };
        let found = folds(&split, &cases())?;
        assert_eq!(found.len(), 4);
        let mut held_out = Vec::new();
        for fold in &found {
            check_partition(fold);
            assert_eq!(fold.validation.len(), 2);
            assert!((2..=3).contains(&fold.test.len()));
            held_out.extend(fold.test.clone());
        }
        held_out.sort();
        assert_eq!(held_out, cases().into_iter().map(|case| case.id).collect::<Vec<_>>());
        let reversed: Vec<_> = cases().into_iter().rev().collect();
        assert_eq!(folds(&split, &reversed)?, found, "the order of the cases does not matter");
        assert_ne!(folds(&StudySplit::KFold { k: 4, n_validation: 2, seed: 4 }, &cases())?, found);
        Ok(())
    }

    #[test]
    fn a_group_is_held_out_whole() -> Result<(), PipelineError> {
        let found = folds(&StudySplit::LeaveOneGroupOut { n_validation: 3, seed: 1 }, &cases())?;
        assert_eq!(
            found.iter().map(|fold| fold.name.as_str()).collect::<Vec<_>>(),
            ["without-a", "without-b", "without-c"]
        );
        for (fold, group) in found.iter().zip(["a", "b", "c"]) {
            check_partition(fold);
            let expected: Vec<_> =
                cases().into_iter().filter(|case| case.group == group).map(|case| case.id).collect();
            assert_eq!(fold.test, expected);
            assert_eq!(fold.validation.len(), 3);
        }
        Ok(())
    }

    #[test]
    fn named_and_drawn_cases_are_held_out() -> Result<(), PipelineError> {
        let named = |validation: &[&str], test: &[&str]| StudySplit::Named {
            validation: validation.iter().map(ToString::to_string).collect(),
            test: test.iter().map(ToString::to_string).collect(),
        };
        let found = folds(&named(&["p03"], &["p07", "p01"]), &cases())?;
        check_partition(&found[0]);
        assert_eq!(
            (found[0].validation.join(","), found[0].test.join(",")),
            ("p03".into(), "p01,p07".into())
        );
        let drawn = folds(&StudySplit::Drawn { n_validation: 2, n_test: 4, seed: 1 }, &cases())?;
        check_partition(&drawn[0]);
        assert_eq!((drawn[0].train.len(), drawn[0].validation.len(), drawn[0].test.len()), (5, 2, 4));
        for (bad, word) in [
            (named(&["p99"], &["p01"]), "p99"),
            (named(&["p01"], &["p01"]), "twice"),
            (named(&["p01"], &[]), "hold out"),
            (StudySplit::Drawn { n_validation: 5, n_test: 6, seed: 1 }, "train on"),
            (StudySplit::KFold { k: 1, n_validation: 0, seed: 1 }, "from 2"),
            (StudySplit::KFold { k: 2, n_validation: 9, seed: 1 }, "train on"),
        ] {
            let text = folds(&bad, &cases()).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(text.contains(word), "{bad:?}: {text}");
        }
        Ok(())
    }
}
