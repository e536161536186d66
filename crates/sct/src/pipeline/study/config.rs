//! The study file.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use synthct_model::TrainConfig;

use crate::pipeline::PipelineError;

/// A study, as its JSON file has it.
///
/// ```
/// use sct::pipeline::StudyConfig;
/// let study: StudyConfig = serde_json::from_str(r#"{
///     "title": "Three tasks against one",
///     "cohorts": [{ "folder": "cohort", "group": "3T" }],
///     "split": { "kind": "drawn", "n_validation": 6, "n_test": 12, "seed": 1 },
///     "seeds": [1, 2, 3],
///     "arms": [
///         { "name": "3tn", "preset": "3tn", "changes": { "epochs": 40, "architecture": { "filters": 8 } } },
///         { "name": "regression", "preset": "regression" }
///     ]
/// }"#)?;
/// assert_eq!(study.arm_configs()?[0].train.epochs, 40);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyConfig {
    /// The page's heading.
    pub title: String,
    /// The cohorts, a group each.
    pub cohorts: Vec<StudyCohort>,
    /// Which cases are trained on, choose the best epoch, and are held out.
    pub split: StudySplit,
    /// The methods; the first one is compared with each other one.
    pub arms: Vec<StudyArm>,
    /// Each arm is trained once with each of these seeds.
    #[serde(default = "one_seed")]
    pub seeds: Vec<u64>,
}

/// A folder of cases that have something in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyCohort {
    /// The folder, as `docs/DATA.md` describes; relative to the study file.
    pub folder: PathBuf,
    /// What its cases have in common: site, scanner or field strength.
    #[serde(default = "one_group")]
    pub group: String,
}

/// How cases are divided; always by case, never by slice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StudySplit {
    /// Named cases choose the best epoch and are held out; the others are trained on.
    Named {
        /// The cases to choose the best epoch by.
        validation: Vec<String>,
        /// The cases held out.
        test: Vec<String>,
    },
    /// So many cases, drawn with a seed.
    Drawn {
        /// How many choose the best epoch.
        n_validation: usize,
        /// How many are held out.
        n_test: usize,
        /// The draw's seed.
        seed: u64,
    },
    /// Each case is held out once, in one of `k` folds of about equal size.
    KFold {
        /// The number of folds, from 2 on.
        k: usize,
        /// How many of the other cases choose the best epoch.
        n_validation: usize,
        /// The draw's seed.
        seed: u64,
    },
    /// Each group is held out once.
    LeaveOneGroupOut {
        /// How many of the other groups' cases choose the best epoch.
        n_validation: usize,
        /// The draw's seed.
        seed: u64,
    },
}

/// One method of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyArm {
    /// Its name in tables and folders.
    pub name: String,
    /// The preset it is trained by.
    pub preset: String,
    /// What differs from the preset: fields of the training configuration, those of nested objects one by one.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub changes: Value,
    /// How often it looks at each held-out case.
    #[serde(default)]
    pub uncertainty: StudyUncertainty,
}

/// How often a network looks at a case, for a mean and an uncertainty; once by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyUncertainty {
    /// Also mirrored.
    #[serde(default)]
    pub mirror: bool,
    /// With so many samples of dropout.
    #[serde(default)]
    pub dropout_samples: usize,
}

/// An arm with its training configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmConfig {
    /// How it is trained, but for the seed.
    pub train: TrainConfig,
}

fn one_seed() -> Vec<u64> {
    vec![0]
}

fn one_group() -> String {
    "all".to_owned()
}

impl StudyConfig {
    /// Checks everything that can be checked without the cohorts, and gives each arm's training configuration.
    ///
    /// # Errors
    /// [`PipelineError::Study`] with everything that is wrong.
    pub fn arm_configs(&self) -> Result<Vec<ArmConfig>, PipelineError> {
        let mut problems = Vec::new();
        let mut require = |ok: bool, problem: String| {
            if !ok {
                problems.push(problem);
            }
        };
        require(!self.cohorts.is_empty(), "`cohorts` is empty".to_owned());
        require(!self.arms.is_empty(), "`arms` is empty".to_owned());
        let seeds: BTreeSet<_> = self.seeds.iter().collect();
        require(
            !seeds.is_empty() && seeds.len() == self.seeds.len(),
            "`seeds` must be one or more different numbers".to_owned(),
        );
        let names: BTreeSet<_> = self.arms.iter().map(|arm| &arm.name).collect();
        require(names.len() == self.arms.len(), "two arms have one name".to_owned());
        let groups = self.cohorts.iter().map(|cohort| ("group", &cohort.group));
        for (what, name) in self.arms.iter().map(|arm| ("arm", &arm.name)).chain(groups) {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
            require(
                !name.is_empty() && !name.starts_with('.') && name.chars().all(is_plain),
                format!(
                    "the {what} `{name}` must be letters, digits, `-`, `_`, `+` and `.`: it names folders"
                ),
            );
        }
        let mut configs = Vec::new();
        for arm in &self.arms {
            match arm.train_config() {
                Ok(train) => configs.push(ArmConfig { train }),
                Err(problem) => problems.push(format!("arm `{}`: {problem}", arm.name)),
            }
        }
        if problems.is_empty() { Ok(configs) } else { Err(PipelineError::Study { problems }) }
    }
}

impl StudyArm {
    /// The preset with the changes.
    fn train_config(&self) -> Result<TrainConfig, String> {
        let preset = TrainConfig::preset(&self.preset).map_err(|error| error.to_string())?;
        if self.changes.get("seed").is_some() {
            return Err("`seed` is set by the study's `seeds`".to_owned());
        }
        let mut value = serde_json::to_value(preset).map_err(|error| error.to_string())?;
        change(&mut value, &self.changes, "")?;
        // By way of text: a 32-bit float has other digits as a 64-bit one.
        let config: TrainConfig =
            serde_json::from_str(&value.to_string()).map_err(|error| format!("`changes`: {error}"))?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }
}

/// Puts the changes into their places.
fn change(value: &mut Value, changes: &Value, path: &str) -> Result<(), String> {
    match (value, changes) {
        (_, Value::Null) if path.is_empty() => Ok(()),
        (Value::Object(fields), Value::Object(changes)) => {
            for (name, changed) in changes {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match fields.get_mut(name) {
                    Some(field) => change(field, changed, &path)?,
                    None => return Err(format!("`changes`: there is no field `{path}`")),
                }
            }
            Ok(())
        }
        (_, _) if path.is_empty() => Err("`changes` must be an object".to_owned()),
        (value, changes) => {
            *value = changes.clone();
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arm(changes: &Value) -> StudyArm {
        StudyArm {
            name: "a".to_owned(),
            preset: "3tn".to_owned(),
            changes: changes.clone(),
            uncertainty: StudyUncertainty::default(),
        }
    }

    #[test]
    fn changes_reach_nested_fields_and_nothing_else() -> Result<(), Box<dyn std::error::Error>> {
        let changes = serde_json::json!({ "epochs": 3, "architecture": { "filters": 5 } });
        let config = arm(&changes).train_config()?;
        let mut expected = TrainConfig { epochs: 3, ..TrainConfig::preset("3tn")? };
        expected.architecture.set_filters(5);
        assert_eq!(config, expected);
        assert_eq!(arm(&Value::Null).train_config()?, TrainConfig::preset("3tn")?);
        Ok(())
    }

    #[test]
    fn wrong_changes_are_told() {
        for (changes, word) in [
            (serde_json::json!({ "epoch": 3 }), "`epoch`"),
            (serde_json::json!({ "architecture": { "filter": 3 } }), "`architecture.filter`"),
            (serde_json::json!({ "epochs": 0 }), "epochs"),
            (serde_json::json!({ "seed": 1 }), "seeds"),
            (serde_json::json!(["epochs"]), "object"),
        ] {
            let problem = arm(&changes).train_config().err().unwrap_or_default();
            assert!(problem.contains(word), "{changes}: {problem}");
        }
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let study = StudyConfig {
            title: String::new(),
            cohorts: vec![StudyCohort { folder: "c".into(), group: "3 T".to_owned() }],
            split: StudySplit::Drawn { n_validation: 1, n_test: 1, seed: 0 },
            arms: vec![arm(&Value::Null), StudyArm { preset: "4tn".to_owned(), ..arm(&Value::Null) }],
            seeds: vec![1, 1],
        };
        let text = study.arm_configs().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(["3 T", "one name", "4tn", "seeds"].iter().all(|word| text.contains(word)), "{text}");
    }
}
