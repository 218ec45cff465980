//! Reads variables, remembers what came of each, and collects the faults.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::path::PathBuf;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};

use super::{names, secret};

/// The environment, as read once at start.
#[derive(Debug)]
pub struct Env {
    variables: BTreeMap<String, String>,
    /// Names of variables whose values are not UTF-8.
    not_text: BTreeSet<String>,
    /// Names of settings that files may hold.
    secrets: Vec<&'static str>,
    effective: Vec<Effective>,
    faults: Vec<String>,
}

/// A setting and what it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The variable's name.
    pub name: &'static str,
    /// The value in force; `None` is unset. A secret reads `(hidden)`.
    pub value: Option<String>,
}

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<String>);

impl Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for Faults {}

const HIDDEN: &str = "(hidden)";

impl Env {
    /// The environment of this process. A setting whose value is not UTF-8 is an error.
    #[must_use]
    pub fn of_process() -> Self {
        let mut env = Self::from_pairs::<String, String>([]);
        for (name, value) in std::env::vars_os() {
            // The names of settings are ASCII.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(env.variables.insert(name, value)),
                Err(_) => drop(env.not_text.insert(name)),
            }
        }
        env
    }

    /// An environment of the given variables.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self {
            variables: pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            not_text: BTreeSet::new(),
            secrets: Vec::new(),
            effective: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Whether the variable, or its `_FILE` twin, is there and not empty.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.value(name).is_some() || self.value(&format!("{name}_FILE")).is_some()
    }

    /// A variable that is not a setting of ours, such as those that Cloud Run sets.
    #[must_use]
    pub fn foreign(&self, name: &str) -> Option<String> {
        self.value(name).map(str::to_owned)
    }

    /// A text; an empty variable counts as unset.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        let value = self.value(name).map(str::to_owned);
        self.remember(name, value.clone());
        value
    }

    /// A value that is parsed from text.
    pub fn parsed<T>(&mut self, name: &'static str) -> Option<T>
    where
        T: FromStr + Display,
        T::Err: Display,
    {
        let parsed = self.value(name).map(str::parse::<T>)?;
        match parsed {
            Ok(value) => {
                self.remember(name, Some(value.to_string()));
                Some(value)
            }
            Err(err) => {
                self.fault(name, format!("is not valid: {err}"));
                None
            }
        }
    }

    /// A value that is parsed from text, or its default.
    pub fn parsed_or<T>(&mut self, name: &'static str, default: T) -> T
    where
        T: FromStr + Display,
        T::Err: Display,
    {
        let given = self.parsed(name);
        let value = given.unwrap_or(default);
        self.remember(name, Some(value.to_string()));
        value
    }

    /// A number within bounds, or its default. Both are numbers of the type that is wanted.
    pub fn number_or<N: TryFrom<u64>>(
        &mut self,
        name: &'static str,
        default: u64,
        bounds: std::ops::RangeInclusive<u64>,
    ) -> N {
        let mut value = self.parsed_or(name, default);
        if !bounds.contains(&value) {
            let (least, most) = bounds.into_inner();
            self.fault(name, format!("is not valid: a number from {least} to {most}"));
            value = default;
        }
        N::try_from(value)
            .ok()
            .expect("the bounds are numbers of the type")
    }

    /// `true` or `false` in any case, or the default. Any other word is a fault: a misspelt switch must not be taken
    /// for its default.
    pub fn flag_or(&mut self, name: &'static str, default: bool) -> bool {
        let value = match self.value(name).map(str::to_ascii_lowercase).as_deref() {
            None => default,
            Some("true" | "1" | "yes" | "on") => true,
            Some("false" | "0" | "no" | "off") => false,
            Some(_) => {
                self.fault(name, "is not valid: true or false");
                default
            }
        };
        self.remember(name, Some(value.to_string()));
        value
    }

    /// A list, separated by commas.
    pub fn list(&mut self, name: &'static str) -> Vec<String> {
        let items: Vec<String> = self
            .value(name)
            .unwrap_or_default()
            .split(',')
            .map(|item| item.trim().to_owned())
            .filter(|item| !item.is_empty())
            .collect();
        self.remember(name, (!items.is_empty()).then(|| items.join(",")));
        items
    }

    /// A secret, given as `name` or as a file named by `name` with `_FILE` behind it, not both. One line break at its
    /// end is not part of it. An empty secret is a fault.
    pub fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        let file = format!("{name}_FILE");
        self.secrets.push(name);
        let result = match (
            self.variables
                .get(name)
                .map(|value| secret::without_line_break(value)),
            self.value(&file),
        ) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err((
                name.to_owned(),
                format!("and {file} are both set: give one of them"),
            )),
            (Some(value), None) if value.trim().is_empty() => Err((name.to_owned(), "is empty".to_owned())),
            (Some(value), None) => Ok(Some(SecretString::from(value))),
            (None, Some(path)) => secret::read_file(&PathBuf::from(path))
                .map(Some)
                .map_err(|reason| (file, reason)),
        };
        match result {
            Ok(secret) => {
                self.remember(name, secret.is_some().then(|| HIDDEN.to_owned()));
                secret
            }
            Err((name_or_file, reason)) => {
                self.remember(name, None);
                self.faults.push(format!("{name_or_file} {reason}"));
                None
            }
        }
    }

    /// A [`Env::secret`] of one line, such as a URL or a password: a line break or another control character within it
    /// is a mistake of whoever stored it.
    pub fn secret_line(&mut self, name: &'static str) -> Option<SecretString> {
        let secret = self.secret(name)?;
        if secret.expose_secret().chars().any(char::is_control) {
            self.fault(
                name,
                "is not valid: it holds a line break or another control character",
            );
            return None;
        }
        Some(secret)
    }

    /// Notes a fault of a variable. `reason` must not hold its value.
    pub fn fault(&mut self, name: &str, reason: impl Display) {
        self.faults.push(format!("{name} {reason}"));
    }

    /// Notes faults that another part found, each beginning with the name of its variable.
    pub fn more_faults(&mut self, faults: Vec<String>) {
        self.faults.extend(faults);
    }

    /// Replaces what is shown for a setting whose default depends on others.
    pub fn remember(&mut self, name: &'static str, value: Option<String>) {
        match self.effective.iter_mut().find(|setting| setting.name == name) {
            Some(setting) => setting.value = value,
            None => self.effective.push(Effective { name, value }),
        }
    }

    /// Variables that are set, look like settings, and are not read, each with a sentence for the operator. To be asked
    /// once every setting was read.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let known: Vec<&str> = self.effective.iter().map(|setting| setting.name).collect();
        let set = self
            .variables
            .iter()
            .filter(|(_, value)| !value.trim().is_empty())
            .map(|(name, value)| (name.as_str(), value.as_str()));
        names::warnings(set, &known, &self.secrets)
    }

    /// The settings in force, or all faults.
    pub fn finish(mut self) -> Result<Vec<Effective>, Faults> {
        let not_text = self.effective.iter().flat_map(|setting| {
            let names = [setting.name.to_owned(), format!("{}_FILE", setting.name)];
            names.into_iter().filter(|name| self.not_text.contains(name))
        });
        let not_text: Vec<String> = not_text
            .map(|name| format!("{name} is not valid: not UTF-8"))
            .collect();
        self.faults.extend(not_text);
        if self.faults.is_empty() {
            Ok(self.effective)
        } else {
            Err(Faults(self.faults))
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }
}
