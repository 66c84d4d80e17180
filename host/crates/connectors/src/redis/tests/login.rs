//! Passwords, rights and encryption.

use super::*;
