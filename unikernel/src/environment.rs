//! The application's environment: variables from the command line, which stay as they are.
//!
//! `vmm-stub run --env NAME=value` gives one, or the kernel parameter `env=NAME=value`.

use alloc::vec::Vec;
use guest_interface::environment::Variable;
use spin::Once;

/// Each name once. Set before the application starts.
static VARIABLES: Once<Vec<Variable>> = Once::new();

/// The value of a variable, if there is one of this name.
///
/// ```no_run
/// let greeting = unikernel::environment::var("GREETING").unwrap_or("hello");
/// ```
#[must_use]
pub fn var(name: &str) -> Option<&'static str> {
    vars().find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// All variables, by name and value, in the order in which their names were first given.
pub fn vars() -> impl Iterator<Item = (&'static str, &'static str)> {
    let variables = VARIABLES.get().map(Vec::as_slice).unwrap_or_default();
    variables.iter().map(|variable| (&*variable.name, &*variable.value))
}

/// Takes the variables of the command line, each still quoted. Says which can't be read.
pub(crate) fn set<'a>(parameters: impl Iterator<Item = &'a str>) {
    VARIABLES.call_once(|| {
        let variables = parameters.filter_map(|parameter| {
            let variable = Variable::read(parameter);
            if variable.is_none() {
                log::warn!("'env={parameter}' is ignored: a variable for the application is env=NAME=value");
            }
            variable
        });
        last_of_each_name(variables)
    });
}

fn last_of_each_name(given: impl Iterator<Item = Variable>) -> Vec<Variable> {
    let mut variables: Vec<Variable> = Vec::new();
    for variable in given {
        match variables.iter_mut().find(|known| known.name == variable.name) {
            Some(known) => *known = variable,
            None => variables.push(variable),
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn of_one_name_the_last_counts() {
        let given = ["A=1", "B=2", "A=3", "a=4"].into_iter().filter_map(Variable::read);
        let kept: Vec<_> = last_of_each_name(given).iter().map(ToString::to_string).collect();
        assert_eq!(kept, ["env=A=3", "env=B=2", "env=a=4"]);
    }

    #[test]
    fn variables_are_found_by_their_whole_name() {
        set(["NAME=\"two words\"", "NAMELESS", "EMPTY="].into_iter());
        assert_eq!((var("NAME"), var("EMPTY")), (Some("two words"), Some("")));
        assert_eq!((var("NAM"), var("NAMELESS"), var("")), (None, None, None));
        assert_eq!(vars().collect::<Vec<_>>(), [("NAME", "two words"), ("EMPTY", "")]);
    }
}
