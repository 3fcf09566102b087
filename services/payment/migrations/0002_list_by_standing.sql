-- Lists of one state go through it page by page, however few payments are in that state.
create index payments_standing_newest on payments (standing, created_at desc, order_id desc);
