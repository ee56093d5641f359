#include "ops/backup/block_pipeline.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "chronos/repo/stored_file.h"
#include "memory_storage.h"
#include "random_bytes.h"
#include "result_matchers.h"

namespace chronos::ops::backup {
namespace {

using compress::CompressType;

constexpr std::uint32_t kBlock = 8192;

/// A chain of backups that hold one file, written by the pipeline and read by what restores it.
class Chain {
public:
    Chain(CompressType type, const std::string& passphrase, bool bundle) : bundle_(bundle) {
        form_ = repo::set_encoding(type, compress::default_compress_level(type), passphrase);
        repository_.storage = storage_;
        if (!passphrase.empty()) repository_.cipher = crypto::CipherType::aes_256_cbc;
        manifest_.cipher_pass = passphrase;
        manifest_.options.compress_type = type;
        file_.name = "pg_data/base/5/1";
    }

    /// Returns whether anything was stored.
    bool back_up(const std::string& content, WorkShare& share) {
        manifest_.label = "B" + std::to_string(manifest_.references.size());
        BlockForm form{form_, {kBlock, 6}, 4 * kBlock, 0, {}};
        form.reference = static_cast<std::uint32_t>(manifest_.references.size());
        if (file_.block_incremental()) form.prior = read_map();
        manifest_.references.push_back(manifest_.label);
        const std::string directory = "backup/main/" + manifest_.label;
        BundleIds ids;
        Stages stages;
        StageClock clock(stages);
        Bundle bundle(*storage_, directory, ids, clock);
        if (bundle_) {
            // Something lies before it.
            auto other = bundle.add_member();
            EXPECT_OK(other);
            EXPECT_OK(other->sink->write(io::bytes("other")));
        }
        BlockPipeline pipeline(
            std::move(form),
            [&]() -> Result<Bundle::Member> {
                if (bundle_) return bundle.add_member();
                auto object = CHRONOS_TRY(storage_->create(directory + "/" + file_.name + ".pgbi",
                                                           storage::WriteMode::plain));
                return Bundle::Member{0, 0, std::move(object)};
            },
            share, {});
        write_in_parts(content, pipeline);
        const auto stored = pipeline.finish();
        EXPECT_OK(stored);
        EXPECT_OK(bundle.finish());
        if (pipeline.unchanged()) return false;
        stored->apply_to(file_);
        file_.reference = manifest_.label;
        return true;
    }

    std::string restore() {
        std::string content(file_.size, '\0');
        EXPECT_OK(repo::read_blocks(repository_, "main", manifest_, file_, read_map(), {},
                                    [&](std::uint64_t number, io::Bytes block) -> Result<> {
                                        content.replace(number * kBlock, block.size(),
                                                        io::text(block));
                                        return {};
                                    }));
        return content;
    }
    repo::BlockMap read_map() {
        auto map = repo::read_block_map(repository_, "main", manifest_, file_);
        EXPECT_OK(map);
        return *map;
    }
    const repo::ManifestFile& file() const { return file_; }

private:
    void write_in_parts(std::string_view content, BlockPipeline& pipeline) {
        while (!content.empty()) {
            const std::size_t size =
                std::min<std::size_t>(content.size(), 1 + random_() % (5 * kBlock));
            EXPECT_OK(pipeline.write(io::bytes(content.substr(0, size))));
            content.remove_prefix(size);
        }
    }

    bool bundle_;
    repo::Encoding form_;
    std::shared_ptr<test::MemoryStorage> storage_ = std::make_shared<test::MemoryStorage>();
    repo::Repository repository_;
    repo::Manifest manifest_;
    repo::ManifestFile file_;
    std::minstd_rand random_{7};
};

using ChainForm = std::tuple<CompressType, const char*, bool>;
class BlockChains : public testing::TestWithParam<ChainForm> {};

/// What a server does to a relation between two backups.
void change(std::string& content, std::minstd_rand& random) {
    switch (random() % 6) {
        case 0: content.append(random_text(random() % (9 * kBlock))); break;
        case 1: content.resize(std::max<std::size_t>(kBlock, content.size() / 2)); break;
        case 2: content.resize(content.size() / kBlock * kBlock); break;
        case 3: break;
        default:
            for (unsigned count = random() % 7; count > 0; --count)
                content[random() % content.size()] ^= static_cast<char>(1 + random() % 255);
    }
}

TEST_P(BlockChains, GiveBackWhatWasBackedUpAfterAnyChange) {
    const auto [type, passphrase, bundle] = GetParam();
    std::minstd_rand random(test_seed());
    for (int round = 0; round < 6; ++round) {
        Chain chain(type, passphrase, bundle);
        WorkShare share(4);
        std::string content = random_text(kBlock + random() % (60 * kBlock));
        for (int step = 0; step < 8; ++step) {
            const std::string before = step == 0 ? "" : chain.restore();
            const bool stored = chain.back_up(content, share);
            EXPECT_EQ(stored, content != before);
            ASSERT_EQ(chain.restore(), content) << "step " << step;
            EXPECT_EQ(chain.file().checksum, crypto::sha1_hex(content));
            change(content, random);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Forms, BlockChains,
                         testing::Combine(testing::Values(CompressType::none, CompressType::gz,
                                                          CompressType::zst, CompressType::lz4),
                                          testing::Values("", "a passphrase"), testing::Bool()),
                         [](const auto& tested) {
                             return std::string(
                                        compress::compress_type_name(std::get<0>(tested.param))) +
                                    (*std::get<1>(tested.param) != '\0' ? "Encrypted" : "") +
                                    (std::get<2>(tested.param) ? "Bundled" : "");
                         });

// docs/format/bundles-and-blocks.md, A map: bytes as pgBackRest wrote them.
TEST(BlockPipeline, StoresTheWorkedExampleAsTheFormatHasIt) {
    const std::string a(kBlock, 'a'), b(kBlock, 'b'), c(kBlock, 'c'), other(kBlock, 'B');
    Chain chain(CompressType::none, "", false);
    WorkShare share(4);
    EXPECT_TRUE(chain.back_up(a + b + c, share));
    EXPECT_EQ(chain.file().repo_size, 24600u);
    EXPECT_EQ(chain.file().block_map_size, 24u);
    EXPECT_TRUE(chain.back_up(a + other + c, share));
    EXPECT_EQ(chain.file().repo_size, 8224u);
    EXPECT_EQ(chain.file().block_map_size, 32u);
    EXPECT_FALSE(chain.back_up(a + other + c, share));
    EXPECT_TRUE(chain.back_up(a + b + c, share)) << "what returns is stored again";
    EXPECT_EQ(chain.file().repo_size, 8224u);
}

TEST(BlockPipeline, AFileCutAtTheEndOfABlockIsAMapAlone) {
    const std::string content = random_text(9 * kBlock);
    Chain chain(CompressType::zst, "", false);
    WorkShare share(4);
    EXPECT_TRUE(chain.back_up(content, share));
    EXPECT_TRUE(chain.back_up(content.substr(0, 5 * kBlock), share));
    EXPECT_EQ(chain.file().repo_size, chain.file().block_map_size);
    for (const repo::BlockMapItem& item : chain.read_map()) EXPECT_EQ(item.reference, 0u);
    EXPECT_EQ(chain.restore(), content.substr(0, 5 * kBlock));
}

TEST(BlockPipeline, OtherThreadsCompressForTheOneThatHasAFile) {
    WorkShare share(4);
    std::vector<std::jthread> helpers;
    std::string content = random_text(400 * kBlock + 17);
    Chain chain(CompressType::gz, "a passphrase", true);
    {
        const WorkShare::Owner owner(share);
        for (int index = 0; index < 3; ++index) helpers.emplace_back([&] { share.help(); });
        EXPECT_TRUE(chain.back_up(content, share));
        EXPECT_EQ(chain.restore(), content);
        content[100 * kBlock] ^= 1;
        EXPECT_TRUE(chain.back_up(content, share));
    }
    helpers.clear();  // they end with the last owner
    EXPECT_EQ(chain.restore(), content);
}

}  // namespace
}  // namespace chronos::ops::backup
