//! Part of Tideflow.
