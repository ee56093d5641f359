#include "ops/archive/sha1_queue.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "chronos/crypto/hash.h"
#include "chronos/io/cpu_tokens.h"
#include "random_bytes.h"

namespace chronos::ops::archive {
namespace {

TEST(Sha1Queue, WhoeverComesFirstHashesForOneThatWaits) {
    const std::string contents[] = {random_bytes(1000, 1), random_bytes(1000, 2),
                                    random_bytes(1000, 3)};
    Sha1Queue queue;
    Sha1Queue::Entry first(queue, io::bytes(contents[0]));
    Sha1Queue::Entry second(queue, io::bytes(contents[1]));
    Sha1Queue::Entry third(queue, io::bytes(contents[2]));
    EXPECT_EQ(third.get(), crypto::sha1_hex(contents[2]));
    EXPECT_EQ(second.get(), crypto::sha1_hex(contents[1]));
    EXPECT_EQ(first.get(), crypto::sha1_hex(contents[0]));
    EXPECT_EQ(first.get(), crypto::sha1_hex(contents[0]));
}

TEST(Sha1Queue, WhatIsGoneIsNotHashed) {
    const std::string content = random_bytes(1000);
    Sha1Queue queue;
    { const Sha1Queue::Entry gone(queue, {}); }
    Sha1Queue::Entry entry(queue, io::bytes(content));
    EXPECT_EQ(entry.get(), crypto::sha1_hex(content));
}

// With a place to compute for one of the threads, the others wait and are taken along; whoever
// waits for another must let go of its place, or nobody could go on.
TEST(Sha1Queue, ThreadsThatShareAPlaceToComputeGetTheirOwnHashes) {
    Sha1Queue queue;
    io::CpuTokens tokens(1);
    std::vector<std::jthread> threads;
    for (std::uint64_t number = 1; number <= 4; ++number)
        threads.emplace_back([&, number] {
            for (std::uint64_t round = 1; round <= 50; ++round) {
                const std::string content = random_bytes(10'000 + number, number * 100 + round);
                Sha1Queue::Entry entry(queue, io::bytes(content));
                const io::TokenScope computes(&tokens);
                EXPECT_EQ(entry.get(), crypto::sha1_hex(content));
            }
        });
}

}  // namespace
}  // namespace chronos::ops::archive
