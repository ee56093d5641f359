#include "chronos/crypto/signing.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "chronos/base/text.h"

namespace chronos::crypto {
namespace {

/// Fetched once: looking an algorithm up costs more than hashing a small body.
template <class Digest>
Digest digest(const char* name, io::Bytes data) {
    struct Free {
        void operator()(EVP_MD* md) const noexcept { EVP_MD_free(md); }
    };
    thread_local std::string fetched_name;
    thread_local std::unique_ptr<EVP_MD, Free> fetched;
    if (fetched_name != name) {
        fetched.reset(EVP_MD_fetch(nullptr, name, nullptr));
        fetched_name = name;
    }
    Digest result{};
    EVP_Digest(data.data(), data.size(), reinterpret_cast<unsigned char*>(result.data()), nullptr,
               fetched.get(), nullptr);
    return result;
}

}  // namespace

Sha256Digest sha256(io::Bytes data) {
    return digest<Sha256Digest>("SHA256", data);
}

std::string sha256_hex(io::Bytes data) {
    return to_hex(sha256(data));
}

std::array<std::byte, 16> md5(io::Bytes data) {
    return digest<std::array<std::byte, 16>>("MD5", data);
}

Sha256Digest hmac_sha256(io::Bytes key, std::string_view message) {
    Sha256Digest result{};
    unsigned length = 0;
    HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
         reinterpret_cast<const unsigned char*>(message.data()), message.size(),
         reinterpret_cast<unsigned char*>(result.data()), &length);
    return result;
}

std::string base64(io::Bytes data) {
    std::string text((data.size() + 2) / 3 * 4 + 1, '\0');
    const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                       reinterpret_cast<const unsigned char*>(data.data()),
                                       static_cast<int>(data.size()));
    text.resize(static_cast<std::size_t>(length));
    return text;
}

std::optional<std::string> from_base64(std::string_view text) {
    if (text.empty() || text.size() % 4 != 0) return std::nullopt;
    std::string data(text.size() / 4 * 3, '\0');
    const int length = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(data.data()),
                                       reinterpret_cast<const unsigned char*>(text.data()),
                                       static_cast<int>(text.size()));
    if (length < 0) return std::nullopt;
    const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
    data.resize(static_cast<std::size_t>(length) - padding);
    return data;
}

}  // namespace chronos::crypto
