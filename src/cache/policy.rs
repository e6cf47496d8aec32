//! How long which content is worth keeping.
//!
//! Two expiries: until the soft one a value is fresh; between soft and hard it is stale: served at once and
//! refreshed behind; after the hard one it is gone. Pure: chance and time are parameters.

use std::time::Duration;

/// What kind of content a value is; each has its own lifetime in [`Content::policy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// Offers of flights: prices move.
    Flights,
    /// Offers of rooms and homes.
    Stays,
    /// Forecasts.
    Weather,
    /// Facts about places from elsewhere.
    Places,
    /// Anything else from the web.
    General,
    /// What a search gave.
    SearchResults,
    /// What a user's memories gave: soon outdated by what the user says next.
    MemorySearches,
    /// What a user prefers.
    UserPreferences,
    /// What changes with a release at most.
    Static,
}

/// How long a value is fresh, and how long after that it may be served stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From writing to the soft expiry.
    pub fresh: Duration,
    /// From the soft expiry to the hard one.
    pub stale: Duration,
}

/// When a value was written and when it expires, milliseconds since 1970 by the server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Written.
    pub created_ms: u64,
    /// Fresh until.
    pub soft_ms: u64,
    /// Kept until.
    pub hard_ms: u64,
}

/// What a value is worth at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Before its soft expiry.
    Fresh,
    /// Between its soft and its hard expiry.
    Stale,
    /// Past its hard expiry.
    Gone,
}

/// A lifetime is up to this part longer or shorter, so that what was written together does not expire together.
const JITTER: f64 = 0.1;

/// Up to this long before departure offers of flights live their whole time; from there on ever shorter.
const FLIGHTS_SETTLE: Duration = Duration::from_secs(21 * 86_400);

/// At departure an offer lives this part of its time.
const AT_DEPARTURE: f64 = 0.1;

impl Content {
    /// The table of lifetimes: fresh, then stale.
    pub const fn policy(self) -> Policy {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 3_600;
        const DAY: u64 = 86_400;
        match self {
            Self::Flights => Policy::seconds(10 * MINUTE, 5 * MINUTE),
            Self::Stays => Policy::seconds(30 * MINUTE, 15 * MINUTE),
            Self::Weather => Policy::seconds(HOUR, HOUR),
            Self::Places => Policy::seconds(DAY, DAY),
            Self::General => Policy::seconds(6 * HOUR, 6 * HOUR),
            Self::SearchResults => Policy::seconds(300, 300),
            Self::MemorySearches => Policy::seconds(30, 30),
            Self::UserPreferences => Policy::seconds(DAY, HOUR),
            Self::Static => Policy::seconds(604_800, DAY),
        }
    }
}

impl Policy {
    /// A lifetime in whole seconds.
    pub const fn seconds(fresh: u64, stale: u64) -> Self {
        Self { fresh: Duration::from_secs(fresh), stale: Duration::from_secs(stale) }
    }

    /// The same, shorter as departure comes near: whole three weeks ahead, a tenth on the day, even in between.
    #[must_use]
    pub fn before_departure(self, until_departure: Duration) -> Self {
        let ahead = (until_departure.as_secs_f64() / FLIGHTS_SETTLE.as_secs_f64()).min(1.0);
        self.scaled(AT_DEPARTURE + (1.0 - AT_DEPARTURE) * ahead)
    }

    /// The lifetime of a value written at `now_ms`; `chance`, from 0 to 1, places it within ten per cent around the
    /// policy.
    pub fn lifetime(self, now_ms: u64, chance: f64) -> Lifetime {
        let jittered = self.scaled(1.0 - JITTER + 2.0 * JITTER * chance.clamp(0.0, 1.0));
        let soft_ms = now_ms.saturating_add(milliseconds(jittered.fresh));
        Lifetime { created_ms: now_ms, soft_ms, hard_ms: soft_ms.saturating_add(milliseconds(jittered.stale)) }
    }

    fn scaled(self, factor: f64) -> Self {
        let scale = |time: Duration| Duration::try_from_secs_f64(time.as_secs_f64() * factor).unwrap_or(Duration::MAX);
        Self { fresh: scale(self.fresh), stale: scale(self.stale) }
    }
}

impl Lifetime {
    /// What the value is worth at `now_ms`.
    pub fn freshness(&self, now_ms: u64) -> Freshness {
        if now_ms < self.soft_ms {
            Freshness::Fresh
        } else if now_ms < self.hard_ms {
            Freshness::Stale
        } else {
            Freshness::Gone
        }
    }

    /// How old the value is at `now_ms`.
    pub fn age(&self, now_ms: u64) -> Duration {
        Duration::from_millis(now_ms.saturating_sub(self.created_ms))
    }

    /// From writing to the hard expiry.
    pub fn whole(&self) -> Duration {
        Duration::from_millis(self.hard_ms.saturating_sub(self.created_ms))
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 86_400;

    #[test]
    fn content_lives_as_long_as_it_is_true() {
        let fresh = |content: Content| content.policy().fresh.as_secs();
        assert_eq!(fresh(Content::Flights), 600);
        assert_eq!(fresh(Content::Stays), 1_800);
        for content in [Content::Weather, Content::Places, Content::General] {
            assert!((3_600..=DAY).contains(&fresh(content)), "{content:?}");
        }
        assert_eq!(fresh(Content::SearchResults), 300);
        assert_eq!(fresh(Content::UserPreferences), 86_400);
        assert_eq!(fresh(Content::Static), 604_800);
    }

    #[test]
    fn flights_nearer_to_departure_live_shorter() {
        let fresh = |days: u64| {
            Content::Flights.policy().before_departure(Duration::from_secs(days * DAY)).fresh.as_secs_f64().round()
        };
        assert!((fresh(0) - 60.0).abs() < 1.0);
        assert!(fresh(1) < fresh(7) && fresh(7) < fresh(20));
        assert!((fresh(21) - 600.0).abs() < 1.0 && (fresh(300) - 600.0).abs() < 1.0);
    }

    #[test]
    fn a_value_is_fresh_then_stale_then_gone() {
        let lifetime = Policy::seconds(10, 5).lifetime(1_000, 0.5);
        assert_eq!(lifetime, Lifetime { created_ms: 1_000, soft_ms: 11_000, hard_ms: 16_000 });
        assert_eq!(lifetime.freshness(10_999), Freshness::Fresh);
        assert_eq!(lifetime.freshness(11_000), Freshness::Stale);
        assert_eq!(lifetime.freshness(16_000), Freshness::Gone);
        assert_eq!(lifetime.age(3_000), Duration::from_secs(2));
        assert_eq!(lifetime.age(0), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn chance_moves_a_lifetime_by_ten_per_cent_at_most(
            fresh in 1_u64..1_000_000, stale in 0_u64..1_000_000, now in 0_u64..1 << 45, chance in 0.0..=1.0
        ) {
            let lifetime = Policy::seconds(fresh, stale).lifetime(now, chance);
            let within = |got_ms: u64, whole_s: u64| got_ms.abs_diff(whole_s * 1_000) <= whole_s * 100 + 2;
            prop_assert!(within(lifetime.soft_ms - now, fresh));
            prop_assert!(within(lifetime.hard_ms - lifetime.soft_ms, stale));
        }

        #[test]
        fn a_later_departure_never_shortens_a_lifetime(near in 0_u64..60 * DAY, more in 0_u64..60 * DAY) {
            let policy = Content::Flights.policy();
            let after = |seconds| policy.before_departure(Duration::from_secs(seconds)).fresh;
            prop_assert!(after(near) <= after(near + more));
        }

        #[test]
        fn no_parameter_overflows(fresh in any::<u64>(), stale in any::<u64>(), now in any::<u64>(), chance in any::<f64>()) {
            let lifetime = Policy::seconds(fresh, stale).lifetime(now, if chance.is_nan() { 0.0 } else { chance });
            prop_assert!(lifetime.created_ms <= lifetime.soft_ms && lifetime.soft_ms <= lifetime.hard_ms);
        }
    }
}
