//! The environment variables of the settings.

use std::{collections::BTreeMap, ffi::OsString};

use anyhow::Result;

use super::{
    flag::{Flag, PREFIX, variable},
    suggestion::{instead_of_others, nearest},
    value::utf8,
};

/// The variables that are set and whose names have the prefix, known or not.
pub(super) struct Variables(BTreeMap<String, OsString>);

impl Variables {
    /// Takes the exporter's own out of all that are set.
    pub(super) fn new(all: impl Iterator<Item = (OsString, OsString)>) -> Variables {
        let own = all.filter_map(|(name, value)| {
            // Every known name is UTF-8.
            let name = name.into_string().ok()?;
            name.starts_with(PREFIX).then_some((name, value))
        });
        Variables(own.collect())
    }

    /// Those of a flag, with their values. Empty ones count only if the value may be empty.
    ///
    /// # Errors
    /// A value is not UTF-8.
    pub(super) fn of(&self, flag: &Flag, may_be_empty: bool) -> Result<Vec<(String, String)>> {
        let set = flag.variables().into_iter().filter_map(|name| self.0.get_key_value(&name));
        set.filter(|(_, value)| may_be_empty || !value.is_empty())
            .map(|(name, value)| Ok((name.clone(), utf8(name, value.clone())?)))
            .collect()
    }

    /// A warning for each whose name no flag has.
    pub(super) fn warnings(&self, flags: &[&Flag]) -> Vec<String> {
        let known: Vec<String> = flags.iter().flat_map(|flag| flag.variables()).collect();
        let unknown = self.0.keys().filter(|name| !known.contains(name));
        unknown
            .map(|name| {
                let advice = instead_of(&name[PREFIX.len()..], &known);
                format!("{name} is ignored: there is no such setting; {advice}")
            })
            .collect()
    }
}

/// What to do instead of setting a variable with this ending, which is not one of these.
fn instead_of(ending: &str, known: &[String]) -> String {
    if let Some(advice) = instead_of_others(ending, variable) {
        return advice;
    }
    match nearest(ending, known.iter().map(|name| &name[PREFIX.len()..])) {
        Some(near) => format!("did you mean {PREFIX}{near}?"),
        None => "remove it, or see --help".to_owned(),
    }
}
