//! The words of the search, the same on both engines: their characters and the folding of letters.
//!
//! These are the tables of SQLite's tokenizer unicode61 (FTS5, Unicode 6.1), without emoji. Migrations
//! use the tables, so they must never change.

/// The characters of words, as ranges of hexadecimal code points: Unicode 6.1's letters, combining
/// marks, numbers and private use, and the code points that it has not assigned.
pub const CHARACTERS: &str = "\
    30-39 41-5a 61-7a aa b2-b3 b5 b9-ba bc-be c0-d6 d8-f6 f8-2c1 2c6-2d1 2e0-2e4 2ec 2ee 300-374 \
    376-37d 37f-383 386 388-3f5 3f7-481 483-487 48a-559 560-588 58b-58e 590-5bd 5bf 5c1-5c2 \
    5c4-5c5 5c7-5f2 5f5-5ff 605 610-61a 61c-61d 620-669 66e-6d3 6d5-6dc 6df-6e8 6ea-6fc 6ff 70e \
    710-7f5 7fa-82f 83f-85d 85f-963 966-96f 971-9f1 9f4-9f9 9fc-aef af2-b6f b71-bf2 bfb-c7e \
    c80-d78 d7a-df3 df5-e3e e40-e4e e50-e59 e5c-f00 f18-f19 f20-f33 f35 f37 f39 f3e-f84 f86-fbd \
    fc6 fcd fdb-1049 1050-109d 10a0-10fa 10fc-135f 1369-138f 139a-13ff 1401-166c 166f-167f \
    1681-169a 169d-16ea 16ee-1734 1737-17d3 17d7 17dc-17ff 180b-180d 180f-193f 1941-1943 \
    1946-19dd 1a00-1a1d 1a20-1a9f 1aa7 1aae-1b59 1b6b-1b73 1b7d-1bfb 1c00-1c3a 1c40-1c7d \
    1c80-1cbf 1cc8-1cd2 1cd4-1fbc 1fbe 1fc2-1fcc 1fd0-1fdc 1fe0-1fec 1ff0-1ffc 1fff 2065-2069 \
    2070-2079 207f-2089 208f-209f 20ba-20dc 20e1 20e5-20ff 2102 2107 210a-2113 2115 2119-211d \
    2124 2126 2128 212a-212d 212f-2139 213c-213f 2145-2149 214e 2150-218f 23f4-23ff 2427-243f \
    244b-249b 24ea-24ff 2700 2776-2793 2b4d-2b4f 2b5a-2ce4 2ceb-2cf8 2cfd 2d00-2d6f 2d71-2dff \
    2e2f 2e3c-2e7f 2e9a 2ef4-2eff 2fd6-2fef 2ffc-2fff 3005-3007 3021-302f 3031-3035 3038-303c \
    3040-309a 309d-309f 30a1-30fa 30fc-318f 3192-3195 31a0-31bf 31e4-31ff 321f-3229 3248-324f \
    3251-325f 3280-3289 32b1-32bf 32ff 3400-4dbf 4e00-a48f a4c7-a4fd a500-a60c a610-a66f \
    a674-a67d a67f-a6f1 a6f8-a6ff a717-a71f a722-a788 a78b-a827 a82c-a835 a83a-a873 a878-a8cd \
    a8d0-a8f7 a8fb-a92d a930-a95e a960-a9c0 a9ce-a9dd a9e0-aa5b aa60-aa76 aa7a-aadd aae0-aaef \
    aaf2-abea abec-d7ff e000-fb28 fb2a-fbb1 fbc2-fd3d fd40-fdfb fdfe-fdff fe1a-fe2f fe53 fe67 \
    fe6c-fefe ff00 ff10-ff19 ff21-ff3a ff41-ff5a ff66-ffdf ffe7 ffef-fff8 10000-100ff \
    10103-10136 10140-10178 1018a-1018f 1019c-101cf 101fd-1039e 103a0-103cf 103d1-10856 \
    10858-1091e 10920-1093e 10940-10a4f 10a59-10a7e 10a80-10b38 10b40-11046 1104e-110ba \
    110c2-1113f 11144-111c4 111c9-1246f 12474-1cfff 1d0f6-1d0ff 1d127-1d128 1d165-1d169 \
    1d16d-1d172 1d17b-1d182 1d185-1d18b 1d1aa-1d1ad 1d1de-1d1ff 1d242-1d244 1d246-1d2ff \
    1d357-1d6c0 1d6c2-1d6da 1d6dc-1d6fa 1d6fc-1d714 1d716-1d734 1d736-1d74e 1d750-1d76e \
    1d770-1d788 1d78a-1d7a8 1d7aa-1d7c2 1d7c4-1eeef 1eef2-1efff 1f02c-1f02f 1f094-1f09f \
    1f0af-1f0b0 1f0bf-1f0c0 1f0d0 1f0e0-1f10f 1f12f 1f16c-1f16f 1f19b-1f1e5 1f203-1f20f \
    1f23b-1f23f 1f249-1f24f 1f252-1f2ff 1fb00-e0000 e0002-e001f e0080-10ffff";

/// Characters that separate words, although unicode61 counts them as parts of words: emoji, most
/// of which are newer than its tables, and variation selectors.
pub const SEPARATORS: &[(char, char)] = &[('\u{fe00}', '\u{fe0f}'), ('\u{1f300}', '\u{1faff}')];

/// The folding of letters beyond ASCII: each letter of the first text becomes the one at the same
/// index in the second. Short blocks make the search for a letter fast.
pub const FOLDS: &[(&str, &str)] = &[
    (
        "\
        µÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞ",
        "\
        μàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþ",
    ),
    (
        "\
        ĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮĲĴĶĹĻĽĿŁŃŅŇŊŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŸŹŻŽſ",
        "\
        āăąćĉċčďđēĕėęěĝğġģĥħĩīĭįĳĵķĺļľŀłńņňŋōŏőœŕŗřśŝşšţťŧũūŭůűųŵŷÿźżžs",
    ),
    (
        "\
        ƁƂƄƆƇƉƊƋƎƏƐƑƓƔƖƗƘƜƝƟƠƢƤƦƧƩƬƮƯƱƲƳƵƷƸƼǄǅǇǈǊǋǍǏǑǓǕǗǙǛǞǠǢǤǦǨǪǬǮǱǲǴǶǷǸǺǼǾȀȂȄȆȈȊȌȎȐȒȔȖȘȚȜȞȠȢȤȦ\
        ȨȪȬȮȰȲȺȻȽȾɁɃɄɅɆɈɊɌɎ",
        "\
        ɓƃƅɔƈɖɗƌǝəɛƒɠɣɩɨƙɯɲɵơƣƥʀƨʃƭʈưʊʋƴƶʒƹƽǆǆǉǉǌǌǎǐǒǔǖǘǚǜǟǡǣǥǧǩǫǭǯǳǳǵƕƿǹǻǽǿȁȃȅȇȉȋȍȏȑȓȕȗșțȝȟƞȣȥȧ\
        ȩȫȭȯȱȳⱥȼƚⱦɂƀʉʌɇɉɋɍɏ",
    ),
    (
        "\
        \u{345}ͰͲͶΆΈΉΊΌΎΏΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΪΫςϏϐϑϕϖϘϚϜϞϠϢϤϦϨϪϬϮϰϱϴϵϷϹϺϽϾϿ",
        "\
        ιͱͳͷάέήίόύώαβγδεζηθικλμνξοπρστυφχψωϊϋσϗβθφπϙϛϝϟϡϣϥϧϩϫϭϯκρθεϸϲϻͻͼͽ",
    ),
    (
        "\
        ЀЁЂЃЄЅІЇЈЉЊЋЌЍЎЏАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ",
        "\
        ѐёђѓєѕіїјљњћќѝўџабвгдежзийклмнопрстуфхцчшщъыьэюя",
    ),
    (
        "\
        ѠѢѤѦѨѪѬѮѰѲѴѶѸѺѼѾҀҊҌҎҐҒҔҖҘҚҜҞҠҢҤҦҨҪҬҮҰҲҴҶҸҺҼҾӀӁӃӅӇӉӋӍӐӒӔӖӘӚӜӞӠӢӤӦӨӪӬӮӰӲӴӶӸӺӼӾԀԂԄԆԈԊԌԎԐԒԔԖ\
        ԘԚԜԞԠԢԤԦԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖႠႡႢႣႤႥႦႧႨႩႪႫႬႭႮႯႰႱႲႳႴႵႶႷႸႹႺႻႼႽႾႿჀჁჂჃჄჅჇჍ",
        "\
        ѡѣѥѧѩѫѭѯѱѳѵѷѹѻѽѿҁҋҍҏґғҕҗҙқҝҟҡңҥҧҩҫҭүұҳҵҷҹһҽҿӏӂӄӆӈӊӌӎӑӓӕӗәӛӝӟӡӣӥӧөӫӭӯӱӳӵӷӹӻӽӿԁԃԅԇԉԋԍԏԑԓԕԗ\
        ԙԛԝԟԡԣԥԧաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆⴀⴁⴂⴃⴄⴅⴆⴇⴈⴉⴊⴋⴌⴍⴎⴏⴐⴑⴒⴓⴔⴕⴖⴗⴘⴙⴚⴛⴜⴝⴞⴟⴠⴡⴢⴣⴤⴥⴧⴭ",
    ),
    (
        "\
        ḀḂḄḆḈḊḌḎḐḒḔḖḘḚḜḞḠḢḤḦḨḪḬḮḰḲḴḶḸḺḼḾṀṂṄṆṈṊṌṎṐṒṔṖṘṚṜṞṠṢṤṦṨṪṬṮṰṲṴṶṸṺṼṾẀẂẄẆẈẊẌẎẐẒẔẛẞẠẢẤẦẨẪẬẮẰẲẴ\
        ẶẸẺẼẾỀỂỄỆỈỊỌỎỐỒỔỖỘỚỜỞỠỢỤỦỨỪỬỮỰỲỴỶỸỺỼỾ",
        "\
        ḁḃḅḇḉḋḍḏḑḓḕḗḙḛḝḟḡḣḥḧḩḫḭḯḱḳḵḷḹḻḽḿṁṃṅṇṉṋṍṏṑṓṕṗṙṛṝṟṡṣṥṧṩṫṭṯṱṳṵṷṹṻṽṿẁẃẅẇẉẋẍẏẑẓẕṡßạảấầẩẫậắằẳẵ\
        ặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹỻỽỿ",
    ),
    (
        "\
        ἈἉἊἋἌἍἎἏἘἙἚἛἜἝἨἩἪἫἬἭἮἯἸἹἺἻἼἽἾἿὈὉὊὋὌὍὙὛὝὟὨὩὪὫὬὭὮὯᾈᾉᾊᾋᾌᾍᾎᾏᾘᾙᾚᾛᾜᾝᾞᾟᾨᾩᾪᾫᾬᾭᾮᾯᾸᾹᾺΆᾼιῈΈῊΉῌῘῙῚΊῨ\
        ῩῪΎῬῸΌῺΏῼΩKÅℲⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩⅪⅫⅬⅭⅮⅯↃⰀⰁⰂⰃⰄⰅⰆⰇⰈⰉⰊⰋⰌⰍⰎⰏⰐⰑⰒⰓⰔⰕⰖⰗⰘⰙⰚⰛⰜⰝⰞⰟⰠⰡⰢⰣⰤⰥⰦⰧⰨⰩⰪⰫⰬⰭⰮⱠⱢⱣⱤⱧⱩⱫⱭⱮⱯⱰ\
        ⱲⱵⱾⱿⲀⲂⲄⲆⲈⲊⲌⲎⲐⲒⲔⲖⲘⲚⲜⲞⲠⲢⲤⲦⲨⲪⲬⲮⲰⲲⲴⲶⲸⲺⲼⲾⳀⳂⳄⳆⳈⳊⳌⳎⳐⳒⳔⳖⳘⳚⳜⳞⳠⳢⳫⳭⳲꙀꙂꙄꙆꙈꙊꙌꙎꙐꙒꙔꙖꙘꙚꙜꙞꙠꙢꙤꙦꙨꙪꙬꚀꚂꚄꚆꚈꚊꚌꚎ\
        ꚐꚒꚔꚖꜢꜤꜦꜨꜪꜬꜮꜲꜴꜶꜸꜺꜼꜾꝀꝂꝄꝆꝈꝊꝌꝎꝐꝒꝔꝖꝘꝚꝜꝞꝠꝢꝤꝦꝨꝪꝬꝮꝹꝻꝽꝾꞀꞂꞄꞆꞋꞍꞐꞒꞠꞢꞤꞦꞨꞪＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ𐐀𐐁\
        𐐂𐐃𐐄𐐅𐐆𐐇𐐈𐐉𐐊𐐋𐐌𐐍𐐎𐐏𐐐𐐑𐐒𐐓𐐔𐐕𐐖𐐗𐐘𐐙𐐚𐐛𐐜𐐝𐐞𐐟𐐠𐐡𐐢𐐣𐐤𐐥𐐦𐐧",
        "\
        ἀἁἂἃἄἅἆἇἐἑἒἓἔἕἠἡἢἣἤἥἦἧἰἱἲἳἴἵἶἷὀὁὂὃὄὅὑὓὕὗὠὡὢὣὤὥὦὧᾀᾁᾂᾃᾄᾅᾆᾇᾐᾑᾒᾓᾔᾕᾖᾗᾠᾡᾢᾣᾤᾥᾦᾧᾰᾱὰάᾳιὲέὴήῃῐῑὶίῠ\
        ῡὺύῥὸόὼώῳωkåⅎⅰⅱⅲⅳⅴⅵⅶⅷⅸⅹⅺⅻⅼⅽⅾⅿↄⰰⰱⰲⰳⰴⰵⰶⰷⰸⰹⰺⰻⰼⰽⰾⰿⱀⱁⱂⱃⱄⱅⱆⱇⱈⱉⱊⱋⱌⱍⱎⱏⱐⱑⱒⱓⱔⱕⱖⱗⱘⱙⱚⱛⱜⱝⱞⱡɫᵽɽⱨⱪⱬɑɱɐɒ\
        ⱳⱶȿɀⲁⲃⲅⲇⲉⲋⲍⲏⲑⲓⲕⲗⲙⲛⲝⲟⲡⲣⲥⲧⲩⲫⲭⲯⲱⲳⲵⲷⲹⲻⲽⲿⳁⳃⳅⳇⳉⳋⳍⳏⳑⳓⳕⳗⳙⳛⳝⳟⳡⳣⳬⳮⳳꙁꙃꙅꙇꙉꙋꙍꙏꙑꙓꙕꙗꙙꙛꙝꙟꙡꙣꙥꙧꙩꙫꙭꚁꚃꚅꚇꚉꚋꚍꚏ\
        ꚑꚓꚕꚗꜣꜥꜧꜩꜫꜭꜯꜳꜵꜷꜹꜻꜽꜿꝁꝃꝅꝇꝉꝋꝍꝏꝑꝓꝕꝗꝙꝛꝝꝟꝡꝣꝥꝧꝩꝫꝭꝯꝺꝼᵹꝿꞁꞃꞅꞇꞌɥꞑꞓꞡꞣꞥꞧꞩɦａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ𐐨𐐩\
        𐐪𐐫𐐬𐐭𐐮𐐯𐐰𐐱𐐲𐐳𐐴𐐵𐐶𐐷𐐸𐐹𐐺𐐻𐐼𐐽𐐾𐐿𐑀𐑁𐑂𐑃𐑄𐑅𐑆𐑇𐑈𐑉𐑊𐑋𐑌𐑍𐑎𐑏",
    ),
];

/// The Latin letters that lose their accent, after the folding by [`FOLDS`]: each letter of the first
/// text becomes the one at the same index in the second. These are the letters of unicode61's
/// `remove_diacritics 2`. Letters that are no accented ones, such as `ø` and `ß`, stay.
pub const ACCENTS: &[(&str, &str)] = &[
    (
        "\
        àáâãäåçèéêëìíîïñòóôõöùúûüýÿ",
        "\
        aaaaaaceeeeiiiinooooouuuuyy",
    ),
    (
        "\
        āăąćĉċčďēĕėęěĝğġģĥĩīĭįİĵķĺļľńņňōŏőŕŗřśŝşšţťũūŭůűųŵŷźżž",
        "\
        aaaccccdeeeeegggghiiiiijklllnnnooorrrssssttuuuuuuwyzzz",
    ),
    (
        "\
        ơưǎǐǒǔǖǘǚǜǟǧǩǫǭǰǵǹǻȁȃȅȇȉȋȍȏȑȓȕȗșțȟȧȩȫȭȯȱȳ",
        "\
        ouaiouuuuuagkoojgnaaaeeiioorruusthaeooooy",
    ),
    (
        "\
        ḁḃḅḇḉḋḍḏḑḓḕḗḙḛḝḟḡḣḥḧḩḫḭḯḱḳḵḷḹḻḽḿṁṃṅṇṉṋṍṏṑṓṕṗṙṛṝṟṡṣṥṧṩṫṭṯṱṳṵṷṹṻṽṿẁẃẅẇẉẋẍẏẑẓẕẖẗẘẙạảấầẩẫậắằẳẵặẹẻẽếềểễệỉ\
        ịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ",
        "\
        abbbcdddddeeeeefghhhhhiikkkllllmmmnnnnoooopprrrrsssssttttuuuuuvvwwwwwxxyzzzhtwyaaaaaaaaaaaaeeeeeeeei\
        ioooooooooooouuuuuuuyyyy",
    ),
];

/// The combining marks that are removed from words, of unicode61's `remove_diacritics 2`.
pub const MARKS: &str = "\
    \u{300}\u{301}\u{302}\u{303}\u{304}\u{306}\u{307}\u{308}\u{309}\u{30a}\u{30b}\u{30c}\u{30f}\
    \u{311}\u{31b}\u{323}\u{324}\u{325}\u{326}\u{327}\u{328}\u{32d}\u{32e}\u{330}\u{331}";

/// The ranges of [`CHARACTERS`], each with its first and its last character.
pub fn ranges() -> impl Iterator<Item = (char, char)> {
    CHARACTERS.split(' ').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let character = |hex| char::from_u32(u32::from_str_radix(hex, 16).ok()?);
        Some((character(first)?, character(last)?))
    })
}
