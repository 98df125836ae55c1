//! The users of the sample data, their reviews and posts, and the merchandise.

use bookstore_proto::v1::{
    BatchCreateItemsRequest, BatchCreatePostsRequest, BatchCreateReviewsRequest,
    BatchCreateUsersRequest, CreateItemRequest, CreatePostRequest, CreateReviewRequest,
    CreateUserRequest, Item, Post, Review, Role, User,
};
use prost_types::{Struct, Value, value::Kind};

use super::ids::{BOOK, FEWEST_BOOKS, ITEM, POST, REVIEW, USER, id};

/// The password of every sample user. docs/tour.md uses it.
const PASSWORD: &str = "correct horse battery";

/// Username, which is also the first part of the email, and full name.
pub(super) const USERS: [(&str, &str); 8] = [
    ("bjoern", "Björn Almeida"),
    ("chiara", "Chiara Brontë"),
    ("dmitri", "Dmitri Castillo"),
    ("elena", "Elena Dvořák"),
    ("farid", "Farid Eriksen"),
    ("grace", "Grace Fontaine"),
    ("hana", "Hana Grünwald"),
    ("ines", "Inês Almeida"),
];

/// The one with the role of an administrator.
const ADMIN: &str = "grace";

/// The one who is not active. VerifyPassword refuses the password.
const INACTIVE: &str = "ines";

/// Each of the first six users has written so many.
const REVIEWS_OF_A_USER: u128 = 5;
const REVIEWERS: u128 = 6;

/// How many reviews there are.
pub(super) const REVIEWS: u128 = REVIEWERS * REVIEWS_OF_A_USER;

const COMMENTS: [&str; 4] = [
    "I read it in one night.",
    "The middle is slow, the end makes up for it.",
    "A gift for a friend, who liked it.",
    "The translation has mistakes.",
];

/// Title and content, by the user of the same number.
pub(super) const POSTS: [(&str, &str); 6] = [
    ("Books for the winter", "Five books that I read again every year, and why."),
    (
        "How I order my shelves",
        "By language first, then by colour. It works better than it sounds.",
    ),
    ("The Silent Lighthouse, again", "A second reading, ten years after the first."),
    ("Reading in three languages", "I keep a notebook for the words that have no translation."),
    ("Short books for long trains", "None of them is longer than 200 pages."),
    ("From the shop", "The opening hours in December."),
];

/// Name, status and colour.
pub(super) const ITEMS: [(&str, &str, &str); 6] = [
    ("Canvas bag", "available", "natural"),
    ("Reading lamp", "available", "black"),
    ("Bookmark, brass", "available", "gold"),
    ("Mug with a lighthouse", "sold out", "blue"),
    ("Notebook, dotted", "available", "green"),
    ("Calendar", "announced", "white"),
];

/// The numbers of a list's entries, from 1 on.
fn numbered<T>(list: &[T]) -> impl Iterator<Item = (u128, &T)> {
    (1..).zip(list)
}

/// The users.
pub(super) fn users() -> BatchCreateUsersRequest {
    let create = |(n, (username, full_name)): (u128, &(&str, &str))| {
        let role = if *username == ADMIN { Role::Admin } else { Role::User };
        let user = User {
            email: format!("{username}@example.com"),
            username: (*username).to_owned(),
            full_name: (*full_name).to_owned(),
            password: PASSWORD.to_owned(),
            is_active: Some(*username != INACTIVE),
            role: role.into(),
            bio: n.is_multiple_of(2).then(|| format!("{full_name} reads at night.")),
            ..Default::default()
        };
        CreateUserRequest { user: Some(user), id: id(USER, n) }
    };
    BatchCreateUsersRequest { requests: numbered(&USERS).map(create).collect() }
}

/// The reviews.
pub(super) fn reviews() -> BatchCreateReviewsRequest {
    let create = |n: u128| {
        let (user, j) = ((n - 1) / REVIEWS_OF_A_USER + 1, (n - 1) % REVIEWS_OF_A_USER);
        // 9 and the number of books have no common factor: a user reviews a book once.
        let book = (user * 7 + j * 9) % u128::from(FEWEST_BOOKS) + 1;
        let half_stars = u8::try_from((user * 3 + j * 5) % 7).unwrap_or_default();
        let comment = usize::try_from((user + j) % 5).unwrap_or_default();
        let review = Review {
            user_id: id(USER, user),
            book_id: id(BOOK, book),
            rating: 2.0 + f64::from(half_stars) / 2.0,
            comment: COMMENTS.get(comment).map(|text| (*text).to_owned()),
            ..Default::default()
        };
        CreateReviewRequest { review: Some(review), id: id(REVIEW, n) }
    };
    BatchCreateReviewsRequest { requests: (1..=REVIEWS).map(create).collect() }
}

/// The posts.
pub(super) fn posts() -> BatchCreatePostsRequest {
    let create = |(n, (title, content)): (u128, &(&str, &str))| {
        let post = Post {
            title: (*title).to_owned(),
            content: (*content).to_owned(),
            author_id: id(USER, n),
            ..Default::default()
        };
        CreatePostRequest { post: Some(post), id: id(POST, n) }
    };
    BatchCreatePostsRequest { requests: numbered(&POSTS).map(create).collect() }
}

/// The merchandise.
pub(super) fn items() -> BatchCreateItemsRequest {
    let create = |(n, (name, status, colour)): (u128, &(&str, &str, &str))| {
        let colour = Value { kind: Some(Kind::StringValue((*colour).to_owned())) };
        let item = Item {
            name: (*name).to_owned(),
            status: (*status).to_owned(),
            payload: Some(Struct { fields: [("colour".to_owned(), colour)].into() }),
            ..Default::default()
        };
        CreateItemRequest { item: Some(item), id: id(ITEM, n) }
    };
    BatchCreateItemsRequest { requests: numbered(&ITEMS).map(create).collect() }
}
