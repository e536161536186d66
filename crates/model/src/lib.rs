//! Train MR-to-CT networks on volumes and apply them; model packages that carry their preprocessing.
