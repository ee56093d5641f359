// Which files relations have is found in what a backup has of pg_class, in whatever state it is.
#include "chronos/pgdata/relation_files.h"

#include <gmock/gmock.h>

#include <cstring>
#include <random>

#include "result_matchers.h"

namespace chronos::pgdata {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

template <class T>
void set_number(std::string& bytes, std::size_t at, T value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
}

/// A page of pg_class as the server lays it out: pointers from the front, rows from the end.
class ClassPage {
public:
    ClassPage() : page_(8192, '\0') {}
    ClassPage& row(std::uint32_t oid, std::uint32_t number, unsigned state = 1,
                   std::uint8_t head = 32) {
        constexpr std::size_t kRow = 200;
        end_ -= kRow;
        page_[end_ + 22] = static_cast<char>(head);
        set_number(page_, end_ + head, oid);
        set_number(page_, end_ + head + 88, number);
        set_number(page_, pointers_, static_cast<std::uint32_t>(end_ | state << 15 | kRow << 17));
        pointers_ += 4;
        set_number(page_, 12, static_cast<std::uint16_t>(pointers_));
        return *this;
    }
    const std::string& str() const { return page_; }

private:
    std::string page_;
    std::size_t pointers_ = 24;
    std::size_t end_ = 8192;
};

TEST(RelationFiles, AFileHasTheNumberThatItsNameBeginsWith) {
    EXPECT_EQ(number_of_relation_file("16412"), 16412u);
    EXPECT_EQ(number_of_relation_file("16412.12"), 16412u);
    EXPECT_EQ(number_of_relation_file("16412_vm.1"), 16412u);
    EXPECT_EQ(number_of_relation_file("4294967295_init"), 4294967295u);
    for (const char* other : {"PG_VERSION", "pg_filenode.map", "t3_16412", "", "0", "4294967296",
                              "_vm", ".1", "16412x"})
        EXPECT_EQ(number_of_relation_file(other), std::nullopt) << other;
}

TEST(RelationFiles, AMapSaysWhichFilesTheRelationsOfTheServerHave) {
    std::string map(512, '\0');
    set_number(map, 0, std::uint32_t{0x592717});
    set_number(map, 4, std::uint32_t{2});
    set_number(map, 8, std::uint32_t{1259});
    set_number(map, 12, std::uint32_t{16500});
    set_number(map, 16, std::uint32_t{2662});
    set_number(map, 20, std::uint32_t{2662});
    const auto relations = parse_relation_map(io::bytes(map));
    ASSERT_OK(relations);
    EXPECT_THAT(*relations, ElementsAre(RelationFile{1259, 16500}, RelationFile{2662, 2662}));
    EXPECT_ERROR(ErrorKind::format, parse_relation_map(io::bytes(map.substr(0, 20))));
    set_number(map, 4, std::uint32_t{0xffffffff});
    EXPECT_ERROR(ErrorKind::format, parse_relation_map(io::bytes(map)));
    map[0] = 0;
    EXPECT_ERROR(ErrorKind::format, parse_relation_map(io::bytes(map)));
    EXPECT_ERROR(ErrorKind::format, parse_relation_map({}));
}

// Whether a row is seen by anybody is not known before recovery: each of its versions counts.
TEST(RelationFiles, EveryRowOfAPageThatIsThereIsFound) {
    const std::string pages = ClassPage()
                                  .row(1259, 1259)
                                  .row(2610, 16600)
                                  .row(2610, 2610)
                                  .row(16999, 17000, /*state=*/3)
                                  .row(16999, 17001, 1, /*head=*/24)
                                  .str() +
                              std::string(8192, '\0') + ClassPage().row(1249, 17002).str();
    EXPECT_THAT(
        relations_in_pages(io::bytes(pages)),
        ElementsAre(RelationFile{1259, 1259}, RelationFile{2610, 16600}, RelationFile{2610, 2610},
                    RelationFile{16999, 17001}, RelationFile{1249, 17002}));
    EXPECT_THAT(relations_in_pages(io::bytes(pages).first(8191)), IsEmpty());
}

// A page was copied while it was written, or is damaged.
TEST(RelationFiles, WhatDoesNotLieInThePageIsNoRow) {
    std::string page = ClassPage().row(1259, 1259).str();
    for (const std::uint32_t pointer :
         {8192u | 1u << 15 | 200u << 17, 8100u | 1u << 15 | 200u << 17, 0u | 1u << 15 | 200u << 17,
          4000u | 1u << 15 | 22u << 17, 4000u | 1u << 15 | 200u << 17}) {
        set_number(page, 24, pointer);
        EXPECT_THAT(relations_in_pages(io::bytes(page)), IsEmpty()) << pointer;
    }
    std::mt19937 random(17);
    for (int round = 0; round < 300; ++round) {
        for (char& c : page) c = static_cast<char>(random());
        relations_in_pages(io::bytes(page));
    }
}

}  // namespace
}  // namespace chronos::pgdata
