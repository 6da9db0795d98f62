//! An error with everything below it, on one line.

use std::error::Error;
use std::fmt;

/// Shows an error and its sources: `list containers: the engine does not answer: refused`.
#[derive(Debug)]
pub(crate) struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(source) = next {
            write!(f, ": {source}")?;
            next = source.source();
        }
        Ok(())
    }
}
