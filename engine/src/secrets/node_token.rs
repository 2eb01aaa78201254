//! What a node shows of itself: `slwe_<8 characters>_<43 characters>` once, to enroll; `slwn_…` from then on. Stored like an API key, as a prefix and a
//! hash.

use std::fmt;

use super::token::Token;

/// What a node's token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeTokenKind {
    /// Once: to enroll.
    Enrolment,
    /// For as long as the node is enrolled: to change its own URL, key and settings, and to leave.
    Node,
}

impl NodeTokenKind {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enrolment => "ENROLMENT",
            Self::Node => "NODE",
        }
    }

    fn mark(self) -> &'static str {
        match self {
            Self::Enrolment => "slwe_",
            Self::Node => "slwn_",
        }
    }
}

/// A whole token: shown once when it is made, and seen again when it is used.
#[derive(Clone)]
pub struct NodeToken(Token);

impl NodeToken {
    /// A new one, random like an API key. Two prefixes may meet: the store's primary key says so, then make another.
    pub fn generate(kind: NodeTokenKind) -> Self {
        Self(Token::generate(kind.mark()))
    }

    /// Reads what a node sent. `None` if it doesn't have the form of a token of this kind; whether it *is* one, only [`NodeToken::matches`] tells.
    pub fn parse(kind: NodeTokenKind, text: &str) -> Option<Self> {
        Token::parse(kind.mark(), text).map(Self)
    }

    /// `slwe_<8 characters>`: names the token without giving it away.
    pub fn prefix(&self) -> &str {
        self.0.prefix()
    }

    /// SHA-256 of the whole token, 64 lower-case hexadecimal characters: what the store keeps.
    pub fn hash(&self) -> String {
        self.0.hash()
    }

    /// Whether `stored` is this token's hash. Takes the same time wherever the two differ.
    pub fn matches(&self, stored: &str) -> bool {
        self.0.matches(stored)
    }

    /// The token itself, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Debug for NodeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeToken({}…)", self.prefix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::ApiKey;

    #[test]
    fn one_kind_is_not_taken_for_another() {
        let kinds = [NodeTokenKind::Enrolment, NodeTokenKind::Node];
        for kind in kinds {
            let token = NodeToken::generate(kind);
            for other in kinds {
                assert_eq!(NodeToken::parse(other, token.expose()).is_some(), other == kind, "{kind:?} {other:?}");
            }
            assert!(ApiKey::parse(token.expose()).is_none());
            assert!(NodeToken::parse(kind, ApiKey::generate().expose()).is_none());
            assert!(token.matches(&token.hash()) && !token.matches(&NodeToken::generate(kind).hash()));
            assert_eq!(token.prefix().len(), 13);
            assert!(!format!("{token:?}").contains(&token.expose()[14..]));
        }
    }
}
