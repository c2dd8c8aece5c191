//! Networks: a create request into what the catalog makes, an endpoint's settings into what a container
//! asks for on a network. What is wrong gets Docker's words (moby v27.5.1 `daemon/network.go`,
//! `api/types/network`, `libnetwork/drivers`).

mod create;
mod endpoint;
mod ipam;
mod options;

pub use create::{TranslatedNetwork, create};
pub use endpoint::endpoint_config;
pub use options::check_verbose;

pub(crate) use endpoint::{NO_OTHER_NETWORK, NOT_WITH_NONE, is_user_defined, link};

/// What swarm's requests are told: this engine is never part of one.
pub const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \
    \"docker swarm join\" to connect this node to swarm and try again.";

/// Several mistakes in one text (moby `internal/multierror`); `None` where there is none.
pub(crate) fn joined(mistakes: &[String]) -> Option<String> {
    match mistakes {
        [] => None,
        [one] => Some(one.trim().to_owned()),
        many => {
            let many: Vec<String> = many.iter().map(|m| m.replace('\n', "\n\t")).collect();
            Some(format!("* {}", many.join("\n* ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn mistakes_are_listed_as_moby_does() {
        let list = |list: &[&str]| {
            let list: Vec<String> = list.iter().map(|text| (*text).to_owned()).collect();
            joined(&list)
        };
        assert_eq!(list(&[]), None);
        assert_eq!(list(&["a\nb\n"]).as_deref(), Some("a\nb"));
        assert_eq!(list(&["a\nb", "c"]).as_deref(), Some("* a\n\tb\n* c"));
    }
}
