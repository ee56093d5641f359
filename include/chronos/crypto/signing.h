#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "chronos/io/stream.h"

namespace chronos::crypto {

using Sha256Digest = std::array<std::byte, 32>;

Sha256Digest sha256(io::Bytes data);
std::string sha256_hex(io::Bytes data);
Sha256Digest hmac_sha256(io::Bytes key, std::string_view message);
std::array<std::byte, 16> md5(io::Bytes data);

std::string base64(io::Bytes data);
/// nullopt unless the text is base64 with its padding.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace chronos::crypto
