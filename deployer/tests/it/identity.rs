//! Who may do what: accounts, keys, infrastructures, hooks, stages and pools on a real SQLite database, against a practice node.

mod accounts;
mod audit;
mod enrolment;
mod governance;
mod hooks;
mod infrastructures;
mod keys;
mod pages;
mod pools;
mod rights;
mod secrets;
mod stages;
mod support;
