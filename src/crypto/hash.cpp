#include "chronos/crypto/hash.h"

#include <openssl/evp.h>
#include <xxhash.h>

#include <algorithm>
#include <new>
#include <stdexcept>

#include "chronos/base/text.h"

namespace chronos::crypto {
namespace {

/// Fetched once: a fetch walks OpenSSL's providers under a lock, which thousands of small files
/// would feel. Never freed, so that it outlives every thread.
const EVP_MD* sha1_algorithm() {
    static const EVP_MD* algorithm = EVP_MD_fetch(nullptr, "SHA1", nullptr);
    if (algorithm == nullptr) throw std::runtime_error("OpenSSL offers no SHA-1");
    return algorithm;
}

void check(int code) {
    if (code != 1) throw std::runtime_error("OpenSSL could not compute SHA-1");
}

}  // namespace

struct Sha1::State {
    State() : context(EVP_MD_CTX_new()) {
        if (context == nullptr) throw std::bad_alloc();
        if (EVP_DigestInit_ex2(context, sha1_algorithm(), nullptr) != 1) {
            EVP_MD_CTX_free(context);
            check(0);
        }
    }
    ~State() { EVP_MD_CTX_free(context); }
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    EVP_MD_CTX* context;
};

Sha1::Sha1() : state_(std::make_unique<State>()) {}
Sha1::~Sha1() = default;
Sha1::Sha1(Sha1&&) noexcept = default;
Sha1& Sha1::operator=(Sha1&&) noexcept = default;

void Sha1::update(io::Bytes in) {
    check(EVP_DigestUpdate(state_->context, in.data(), in.size()));
}

std::string Sha1::hex() {
    std::array<unsigned char, 20> digest;
    check(EVP_DigestFinal_ex(state_->context, digest.data(), nullptr));
    return to_hex(std::as_bytes(std::span(digest)));
}

std::string sha1_hex(io::Bytes data) {
    Sha1 sha1;
    sha1.update(data);
    return sha1.hex();
}

std::array<std::byte, 16> xxh3_128(io::Bytes data) {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data.data(), data.size()));
    std::array<std::byte, 16> result;
    std::ranges::copy(std::as_bytes(std::span(canonical.digest)), result.begin());
    return result;
}

}  // namespace chronos::crypto
