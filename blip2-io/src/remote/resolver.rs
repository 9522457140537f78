//! Names of hosts to addresses that may be asked.

use std::io;

use ureq::{
    Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::NextTimeout,
    },
};

use super::address::is_public;

/// Resolves by the system, and refuses a host any address of which is not public: the connection is made
/// to what was looked at here.
#[derive(Debug)]
pub(super) struct PublicResolver {
    system: DefaultResolver,
    allow_private: bool,
}

impl PublicResolver {
    pub(super) fn new(allow_private: bool) -> Self {
        Self {
            system: DefaultResolver::default(),
            allow_private,
        }
    }
}

impl Resolver for PublicResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.system.resolve(uri, config, timeout)?;
        if self.allow_private || found.iter().all(|address| is_public(address.ip())) {
            return Ok(found);
        }
        let text = format!(
            "`{}` is an address of this machine or of a private network, which is not asked",
            uri.host().unwrap_or_default()
        );
        Err(Error::Other(Box::new(io::Error::other(text))))
    }
}
