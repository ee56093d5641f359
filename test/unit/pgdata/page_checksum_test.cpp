#include "chronos/pgdata/page_checksum.h"

#include <gtest/gtest.h>

#include <cstring>

#include "result_matchers.h"

namespace chronos::pgdata {
namespace {

constexpr std::size_t kPageSize = 8192;
using Ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

template <class Formula>
std::string page_of(Formula formula) {
    std::string page(kPageSize, '\0');
    for (std::size_t at = 0; at < kPageSize; ++at) page[at] = static_cast<char>(formula(at) % 256);
    return page;
}

/// A page as a server would write it: its checksum is right for `block`.
std::string good_page(std::uint32_t block) {
    std::string page = page_of([&](std::size_t at) { return at * 31 + block; });
    page[14] = 1;  // pd_upper
    const std::uint16_t checksum = page_checksum(io::bytes(page), block);
    std::memcpy(page.data() + 8, &checksum, sizeof checksum);
    return page;
}

std::string good_pages(std::size_t count, std::uint32_t first_block = 0) {
    std::string pages;
    for (std::size_t index = 0; index < count; ++index)
        pages += good_page(first_block + static_cast<std::uint32_t>(index));
    return pages;
}

void damage(std::string& pages, std::size_t index) {
    pages[index * kPageSize + 5000] ^= 1;
}

PageCheckResult check(const std::string& content, PageCheckSink::Options options = {},
                      PageCheckSink::RereadPage reread = {}, std::size_t chunk = SIZE_MAX) {
    io::MemorySink stored;
    PageCheckSink sink(options, std::move(reread), stored);
    for (std::size_t at = 0; at < content.size(); at += std::min(chunk, content.size()))
        EXPECT_OK(sink.write(io::bytes(std::string_view(content).substr(at, chunk))));
    EXPECT_OK(sink.finish());
    EXPECT_TRUE(stored.finished());
    EXPECT_TRUE(stored.content == content) << "the content must pass unchanged";
    return sink.result();
}

// Values of page_checksum() of the extension pageinspect of PostgreSQL 15.
TEST(PageChecksum, AgreesWithTheServer) {
    const std::string first = page_of([](std::size_t at) { return at * 7; });
    const std::string second = page_of([](std::size_t at) { return at * at + 3; });
    EXPECT_EQ(page_checksum(io::bytes(first), 0), 45186);
    EXPECT_EQ(page_checksum(io::bytes(first), 1), 45185);
    EXPECT_EQ(page_checksum(io::bytes(first), 131072), 45184);
    EXPECT_EQ(page_checksum(io::bytes(second), 0), 38682);
    EXPECT_EQ(page_checksum(io::bytes(second), 1), 38681);
}

TEST(PageChecksum, DoesNotDependOnAlignment) {
    const std::string page = page_of([](std::size_t at) { return at * 7; });
    for (std::size_t shift = 0; shift < 16; ++shift) {
        const std::string shifted = std::string(shift, 'x') + page;
        EXPECT_EQ(page_checksum(io::bytes(shifted).subspan(shift), 0), 45186);
    }
}

TEST(PageCheckSink, GoodPagesPassWhateverTheChunks) {
    for (const std::size_t chunk : {SIZE_MAX, kPageSize, std::size_t{100}, kPageSize + 1}) {
        SCOPED_TRACE(chunk);
        EXPECT_FALSE(check(good_pages(5), {}, {}, chunk).error());
    }
    EXPECT_FALSE(check("").error());
}

TEST(PageCheckSink, BadPagesAreListedAsRangesWhateverTheChunks) {
    std::string content = good_pages(12);
    for (const std::size_t index : {3, 5, 6, 7, 10}) damage(content, index);
    for (const std::size_t chunk : {SIZE_MAX, kPageSize, std::size_t{100}, kPageSize + 1}) {
        SCOPED_TRACE(chunk);
        const PageCheckResult result = check(content, {}, {}, chunk);
        EXPECT_FALSE(result.misaligned);
        EXPECT_EQ(result.error_ranges, (Ranges{{3, 3}, {5, 7}, {10, 10}}));
    }
}

TEST(PageCheckSink, BlockNumbersGoOnFromTheSegmentBefore) {
    std::string content = good_pages(3, 131072);
    EXPECT_FALSE(check(content, {.first_block = 131072}).error());
    damage(content, 1);
    EXPECT_EQ(check(content, {.first_block = 131072}).error_ranges, (Ranges{{131073, 131073}}));
    EXPECT_EQ(check(good_pages(3, 131072)).error_ranges, (Ranges{{0, 2}}));
}

TEST(PageCheckSink, NewPageIsGoodOnlyIfAllOfItIsZero) {
    std::string content(2 * kPageSize, '\0');
    EXPECT_FALSE(check(content).error());
    content.back() = 1;
    EXPECT_EQ(check(content).error_ranges, (Ranges{{1, 1}}));
    content.back() = 0;
    content[kPageSize] = 1;
    EXPECT_EQ(check(content).error_ranges, (Ranges{{1, 1}}));
}

TEST(PageCheckSink, HeaderCheckDecidesHowANewPageIsKnown) {
    std::string no_upper = good_page(0);
    no_upper[14] = no_upper[15] = 0;
    const std::uint16_t checksum = page_checksum(io::bytes(no_upper), 0);
    std::memcpy(no_upper.data() + 8, &checksum, sizeof checksum);
    EXPECT_TRUE(check(no_upper, {.header_check = true}).error());
    EXPECT_FALSE(check(no_upper, {.header_check = false}).error());
}

TEST(PageCheckSink, PageThatChangedSinceItWasReadIsNoError) {
    std::string content = good_pages(4);
    damage(content, 1);
    damage(content, 3);
    std::vector<std::uint64_t> offsets;
    const auto changed_first = [&](std::uint64_t offset, io::MutableBytes page) {
        offsets.push_back(offset);
        std::memcpy(page.data(), content.data() + offset, page.size());
        if (offset == kPageSize) page[0] ^= std::byte{1};
        return true;
    };
    EXPECT_EQ(check(content, {}, changed_first).error_ranges, (Ranges{{3, 3}}));
    EXPECT_EQ(offsets, (std::vector<std::uint64_t>{kPageSize, 3 * kPageSize}));
}

TEST(PageCheckSink, PageThatCannotBeReadAgainStaysAnError) {
    std::string content = good_pages(1);
    damage(content, 0);
    EXPECT_TRUE(check(content, {}, [](auto, auto) { return false; }).error());
}

TEST(PageCheckSink, RemainderMakesTheFileMisalignedWithoutAList) {
    std::string content = good_pages(3);
    damage(content, 1);
    for (const std::size_t remainder : {1ul, 511ul, 512ul, kPageSize - 1}) {
        const PageCheckResult result = check(content + std::string(remainder, 'x'));
        EXPECT_TRUE(result.misaligned);
        EXPECT_TRUE(result.error());
        EXPECT_TRUE(result.error_ranges.empty());
    }
}

TEST(PageCheckSink, OtherPageSizesAreChecked) {
    const std::string page = page_of([](std::size_t at) { return at; }).substr(0, 1024);
    EXPECT_EQ(check(page + page, {.page_size = 1024}).error_ranges, (Ranges{{0, 1}}));
    EXPECT_FALSE(check(std::string(32768, '\0'), {.page_size = 32768}).error());
}

}  // namespace
}  // namespace chronos::pgdata
