#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "chronos/base/lsn.h"
#include "chronos/io/stream.h"
#include "chronos/pgdata/wal_commits.h"
#include "chronos/pgdata/wal_tablespaces.h"

namespace chronos::pgdata {

/// How far a recovery gets in a segment.
struct WalExtent {
    /// Up to here everything is the WAL that belongs there. The end of the segment, if a record
    /// goes on in the next one.
    Lsn end;
    /// Where the last record begins that is whole; 0: there is none, or only pages were looked at.
    Lsn last;
    /// Whether that is all there can be: the segment is full, or the server has left it (a switch)
    /// and nobody reads what is behind.
    bool whole = false;
    /// What no server leaves behind such an end: a page that is none, or one from which the WAL
    /// goes on. "" where it may be the end of the WAL: zeros, and pages of an older segment, of
    /// which the file was made, stand behind it.
    std::string flaw;
    /// The first record that begins there, and where the one before it begins by what it says; 0:
    /// none is known.
    Lsn first, before_first;
    /// Where the last record begins, whole or going on in the next segment; 0: none is known.
    Lsn last_begun;
    /// The server had crashed, and gave up the record that goes on from the segment before.
    bool gives_up_record = false;
    /// Those whose records begin and end there, in the order of the WAL.
    std::vector<TablespaceCreation> tablespaces;
    /// What it has of a record that goes on in the next segment (at `last_begun`), and of one that
    /// began in the segment before: "" where there is none, or it is of no tablespace for sure.
    std::string begun, rest;
};

/// The tablespace whose record begins in one segment and ends in the next.
std::optional<TablespaceCreation> tablespace_across(const WalExtent& before, const WalExtent& next);

/// Why a segment is not what came behind another one, though its position is: "" if it may be.
/// `last_begun` of the one before; 0: not known. A server ends its recovery there without a word,
/// as at the end of all WAL: pg_resetwal, and two servers that write the same timeline, leave it.
std::string joint_flaw(Lsn last_begun, const WalExtent& next);

/// Reads a segment as it passes, without keeping it. What has no header of a first page, or pages
/// of another size, is not judged: it counts as whole.
///
/// Source: docs/format/cluster-files.md, WAL pages. Behind the record of a switch a server leaves
/// zeros; before 11 it left empty pages.
class WalReader final : public io::Sink {
public:
    enum class Depth {
        pages,   ///< the header of each page: magic, timeline, position
        records  ///< also how records follow each other, and their checksums
    };
    /// `timeline`: of the name. `begins`: where that timeline begins, if that is known; pages from
    /// there on are its own.
    WalReader(Depth depth, Timeline timeline, std::optional<Lsn> begins = std::nullopt)
        : depth_(depth), timeline_(timeline), begins_(begins) {}

    /// Every record of that resource manager that is whole and has that size at most goes to
    /// `take`, with where it begins. Its checksum is not looked at unless the depth is records.
    struct Wanted {
        std::optional<std::uint8_t> manager = 0;  ///< nullopt: of any
        std::size_t size_max = 0;
        std::function<void(Lsn begin, io::Bytes record)> take;
    };
    void want(Wanted wanted) { wanted_ = std::move(wanted); }

    Result<> write(io::Bytes in) override;
    Result<> finish() override { return {}; }
    /// What is written from now on is the next segment: a record may go on from one to the other.
    /// `timeline` is that of its name.
    void go_on(Timeline timeline);
    /// Of what was written.
    WalExtent extent() const;

private:
    /// What a page is, by its header.
    enum class Page { next, older, blank, none };

    void add_page(io::Bytes page);
    void begin(io::Bytes page);
    Page kind_of(io::Bytes page) const;
    void note_behind(Page kind);
    bool begin_records(io::Bytes page, std::size_t& at);
    void read_records(io::Bytes page);
    bool begin_record(io::Bytes page, std::size_t at);
    void feed(io::Bytes part);
    bool end_record();
    bool may_be_tablespace() const;
    bool is_wanted() const;
    bool is_kept() const { return may_be_tablespace() || is_wanted(); }
    std::optional<std::uint8_t> manager() const;
    std::string record_so_far() const;
    std::pair<Lsn, Lsn> head_of_first() const;
    void stop(Lsn end);
    Lsn here() const { return Lsn{start_.value + offset_}; }

    Depth depth_;
    Timeline timeline_;
    std::optional<Lsn> begins_;
    std::vector<std::byte> partial_;  ///< of a page

    bool judged_ = true;
    Lsn start_;
    std::uint32_t segment_size_ = 0;
    std::uint16_t magic_ = 0;
    Timeline page_timeline_ = 0;  ///< of the page before
    std::uint64_t offset_ = 0;    ///< of the page at hand
    std::optional<Lsn> end_;
    bool left_ = false;  ///< by a switch
    std::string flaw_;

    std::uint64_t remaining_ = 0;  ///< bytes of the record that goes on
    bool known_ = false;           ///< whether its beginning was seen
    Lsn record_;                   ///< where it begins
    std::uint32_t record_size_ = 0;
    Lsn last_;                  ///< the same of the last one that was whole
    Lsn first_, before_first_;  ///< as in WalExtent
    Lsn begun_;                 ///< the last one that was whole, however deep it was looked
    bool gives_up_ = false;
    std::array<std::byte, 24> head_{};
    std::size_t head_size_ = 0;
    std::uint32_t crc_ = 0;
    std::string behind_head_;  ///< of the record at hand, if somebody wants it
    Wanted wanted_;
    std::string rest_;  ///< as in WalExtent
    std::vector<TablespaceCreation> tablespaces_;
};

WalExtent wal_extent(io::Bytes content, WalReader::Depth depth, Timeline timeline,
                     std::optional<Lsn> begins = std::nullopt);

}  // namespace chronos::pgdata
