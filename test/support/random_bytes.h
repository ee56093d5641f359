#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

namespace chronos {

/// The seed of this run's random tests: TEST_SEED if set, else a new one. Printed once, so
/// that a failure can be repeated.
inline std::uint64_t test_seed() {
    static const std::uint64_t seed = [] {
        const char* wanted = std::getenv("TEST_SEED");
        const std::uint64_t value =
            wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : std::random_device{}();
        std::printf("TEST_SEED=%llu\n", static_cast<unsigned long long>(value));
        return value;
    }();
    return seed;
}

/// Incompressible.
inline std::string random_bytes(std::size_t size, std::uint64_t seed = test_seed()) {
    std::mt19937_64 engine(seed);
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(engine());
    return bytes;
}

/// Words and digits that compress about as well as table data does.
inline std::string random_text(std::size_t size, std::uint64_t seed = test_seed()) {
    static constexpr const char* kWords[] = {"alpha ", "bravo ",   "charlie ", "delta ",
                                             "echo\n", "foxtrot ", "golf ",    "hotel\t"};
    std::mt19937_64 engine(seed);
    std::string text;
    while (text.size() < size) {
        text += kWords[engine() % 8];
        if (engine() % 4 == 0) text += std::to_string(engine() % 100000);
    }
    text.resize(size);
    return text;
}

}  // namespace chronos
