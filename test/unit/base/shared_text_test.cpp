#include "chronos/base/shared_text.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace chronos {
namespace {

TEST(SharedText, HoldsWhatItWasMadeOf) {
    // Around the length from which on the length takes more than a byte, and beyond a piece.
    for (const std::size_t size : {0ul, 1ul, 22ul, 253ul, 254ul, 255ul, 256ul, 300'000ul}) {
        const std::string text(size, 'x');
        const SharedText shared(text);
        EXPECT_EQ(shared.view(), text) << size;
        EXPECT_EQ(shared.empty(), size == 0);
        EXPECT_EQ(SharedText(std::string(text)), shared) << size;
    }
}

TEST(SharedText, KeepsNulBytes) {
    const std::string text("a\0b", 3);
    EXPECT_EQ(SharedText(text).str(), text);
    EXPECT_NE(SharedText(text), SharedText("a"));
}

TEST(SharedText, IsOrderedByteByByte) {
    EXPECT_LT(SharedText("pg_data/a"), SharedText("pg_data/b"));
    EXPECT_LT(SharedText("pg_data"), SharedText("pg_data/"));
    EXPECT_LT(SharedText("a"), SharedText("\xff"));
    EXPECT_LT(SharedText(), SharedText("a"));
    EXPECT_TRUE(SharedText("a") == "a");
    EXPECT_EQ("<" + SharedText("a") + ">", "<a>");
}

TEST(SharedText, ThreadsFindTheSameTexts) {
    constexpr std::size_t kTexts = 5000;
    std::vector<std::vector<SharedText>> found(4);
    std::vector<std::thread> threads;
    for (auto& texts : found)
        threads.emplace_back([&texts] {
            for (std::size_t i = 0; i < kTexts; ++i)
                texts.emplace_back("pg_data/base/16384/" + std::to_string(i));
        });
    for (std::thread& thread : threads) thread.join();
    for (const auto& texts : found) EXPECT_EQ(texts, found[0]);
    for (std::size_t i = 0; i < kTexts; ++i)
        ASSERT_EQ(found[0][i].view(), "pg_data/base/16384/" + std::to_string(i));
}

}  // namespace
}  // namespace chronos
