//! Which of a Gateway's clients we are. Pure.

use portcullis_api::ClientStatus;

use crate::failure::{Exit, Failure};

/// The one that is asked for, or the only one.
pub(super) fn choose<'a>(
    title: &str,
    clients: &'a [ClientStatus],
    wanted: Option<&str>,
) -> Result<&'a ClientStatus, Failure> {
    let names = || clients.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ");
    match (wanted, clients) {
        (_, []) => Err(Failure::new(Exit::NotFound, format!("{title} has no clients in its status")).hint(
            "add one to its spec.clients, such as `clients: [{name: laptop}]`, and wait until it is Ready",
        )),
        (Some(wanted), clients) => clients.iter().find(|it| it.name == wanted).ok_or_else(|| {
            Failure::new(Exit::NotFound, format!("{title} has no client `{wanted}`"))
                .hint(format!("there are: {}", names()))
        }),
        (None, [only]) => Ok(only),
        (None, _) => {
            Err(Failure::new(Exit::Usage, format!("{title} has several clients, and --client says which"))
                .hint(format!("give --client with one of: {}", names())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(names: &[&str]) -> Vec<ClientStatus> {
        names.iter().map(|it| ClientStatus { name: (*it).to_owned(), ..ClientStatus::default() }).collect()
    }

    #[test]
    fn the_only_client_needs_no_name_and_of_several_none_is_guessed() {
        let chosen = |names: &[&str], wanted: Option<&str>| {
            let clients = clients(names);
            choose("it", &clients, wanted)
                .map(|it| it.name.clone())
                .map_err(|failure| (failure.exit, failure.hint))
        };
        assert_eq!(chosen(&["laptop"], None).as_deref(), Ok("laptop"));
        assert_eq!(chosen(&["ci", "laptop"], Some("laptop")).as_deref(), Ok("laptop"));
        let (exit, hint) = chosen(&["ci", "laptop"], None).unwrap_err();
        assert_eq!((exit, hint.unwrap().contains("ci, laptop")), (Exit::Usage, true));
        let (exit, hint) = chosen(&["ci", "laptop"], Some("phone")).unwrap_err();
        assert_eq!((exit, hint.unwrap().contains("ci, laptop")), (Exit::NotFound, true));
        assert_eq!(chosen(&[], None).unwrap_err().0, Exit::NotFound);
    }
}
