//! What is known about a flag.

/// What the names of all variables begin with.
pub(super) const PREFIX: &str = "EXPORTER_";

/// A flag that takes a value.
pub(super) struct Flag {
    /// With dots, as the user writes it.
    pub(super) name: &'static str,
    /// The name of its value in the help.
    pub(super) value: &'static str,
    /// Its environment variable. Another is made from the flag's name.
    pub(super) variable: &'static str,
    pub(super) default: &'static str,
    pub(super) help: &'static str,
}

impl Flag {
    /// Its variable of the table, and the one that follows from its name.
    pub(super) fn variables(&self) -> Vec<String> {
        let mut names = vec![self.variable.to_owned(), variable(self.name)];
        names.dedup();
        names
    }
}

/// The variable that follows from the name of a flag.
pub(super) fn variable(flag: &str) -> String {
    let name = flag.trim_start_matches('-').replace(['.', '-'], "_").to_ascii_uppercase();
    format!("{PREFIX}{name}")
}
